"""From a trained Keras model to a verified bundle: convert, prove, describe.

Training runs come in as files, pictures as plain arrays; nothing here imports the training code.
"""
