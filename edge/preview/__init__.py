"""Pictures for people: the overlay, a video file, a window."""
