"""How good a model is: on which samples, with which protocol, how surely."""
