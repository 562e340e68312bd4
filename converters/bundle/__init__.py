"""What a bundle consists of, and a look into one."""
