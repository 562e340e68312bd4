"""What a model predicts, and figures made of that."""
