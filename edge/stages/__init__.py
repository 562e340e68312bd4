"""What happens to a frame, in order: mesh, track, align, classify, smooth."""
