"""What goes to a device: wheels, units, a plan, one archive."""
