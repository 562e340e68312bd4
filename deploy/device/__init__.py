"""What runs on the device, on its own Python: the standard library only, shipped as one zipapp.

``facts.py`` goes alone, and can be read by an old Python, so that an old system gets a clear answer
instead of a syntax error.
"""
