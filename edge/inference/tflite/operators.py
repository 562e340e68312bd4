"""The operations that a TFLite model of edgeemo may hold: built in, and without state."""

from typing import Final, NamedTuple


class Operator(NamedTuple):
    """A built-in operation.

    Attributes:
        name: TFLite's name of it.
        options: the number of its options' table in the schema; 0 for one without.
        least_inputs: how many tensors it reads at least.
        most_inputs: and at most.
    """

    name: str
    options: int
    least_inputs: int
    most_inputs: int


OPERATORS: Final = {
    0: Operator("ADD", 11, 2, 2),
    1: Operator("AVERAGE_POOL_2D", 5, 1, 1),
    2: Operator("CONCATENATION", 10, 1, 64),
    3: Operator("CONV_2D", 1, 2, 3),
    4: Operator("DEPTHWISE_CONV_2D", 2, 2, 3),
    5: Operator("DEPTH_TO_SPACE", 94, 1, 1),
    6: Operator("DEQUANTIZE", 38, 1, 1),
    8: Operator("FLOOR", 0, 1, 1),
    9: Operator("FULLY_CONNECTED", 8, 2, 3),
    11: Operator("L2_NORMALIZATION", 12, 1, 1),
    14: Operator("LOGISTIC", 0, 1, 1),
    17: Operator("MAX_POOL_2D", 5, 1, 1),
    18: Operator("MUL", 21, 2, 2),
    19: Operator("RELU", 0, 1, 1),
    20: Operator("RELU_N1_TO_1", 0, 1, 1),
    21: Operator("RELU6", 0, 1, 1),
    22: Operator("RESHAPE", 17, 1, 2),
    23: Operator("RESIZE_BILINEAR", 15, 2, 2),
    25: Operator("SOFTMAX", 9, 1, 1),
    26: Operator("SPACE_TO_DEPTH", 19, 1, 1),
    28: Operator("TANH", 0, 1, 1),
    34: Operator("PAD", 22, 2, 2),
    36: Operator("GATHER", 23, 2, 2),
    37: Operator("BATCH_TO_SPACE_ND", 24, 3, 3),
    38: Operator("SPACE_TO_BATCH_ND", 25, 3, 3),
    39: Operator("TRANSPOSE", 26, 2, 2),
    40: Operator("MEAN", 27, 2, 2),
    41: Operator("SUB", 28, 2, 2),
    42: Operator("DIV", 29, 2, 2),
    43: Operator("SQUEEZE", 30, 1, 1),
    45: Operator("STRIDED_SLICE", 32, 4, 4),
    47: Operator("EXP", 33, 1, 1),
    49: Operator("SPLIT", 35, 2, 2),
    50: Operator("LOG_SOFTMAX", 36, 1, 1),
    53: Operator("CAST", 37, 1, 1),
    54: Operator("PRELU", 0, 2, 2),
    55: Operator("MAXIMUM", 39, 2, 2),
    56: Operator("ARG_MAX", 40, 2, 2),
    57: Operator("MINIMUM", 39, 2, 2),
    58: Operator("LESS", 41, 2, 2),
    59: Operator("NEG", 42, 1, 1),
    60: Operator("PADV2", 43, 3, 3),
    61: Operator("GREATER", 44, 2, 2),
    62: Operator("GREATER_EQUAL", 45, 2, 2),
    63: Operator("LESS_EQUAL", 46, 2, 2),
    64: Operator("SELECT", 47, 3, 3),
    65: Operator("SLICE", 48, 3, 3),
    66: Operator("SIN", 0, 1, 1),
    67: Operator("TRANSPOSE_CONV", 49, 3, 4),
    69: Operator("TILE", 51, 2, 2),
    70: Operator("EXPAND_DIMS", 52, 2, 2),
    71: Operator("EQUAL", 53, 2, 2),
    72: Operator("NOT_EQUAL", 54, 2, 2),
    73: Operator("LOG", 0, 1, 1),
    74: Operator("SUM", 27, 2, 2),
    75: Operator("SQRT", 0, 1, 1),
    76: Operator("RSQRT", 0, 1, 1),
    77: Operator("SHAPE", 55, 1, 1),
    78: Operator("POW", 56, 2, 2),
    79: Operator("ARG_MIN", 57, 2, 2),
    81: Operator("REDUCE_PROD", 27, 2, 2),
    82: Operator("REDUCE_MAX", 27, 2, 2),
    83: Operator("PACK", 59, 1, 64),
    84: Operator("LOGICAL_OR", 60, 2, 2),
    86: Operator("LOGICAL_AND", 62, 2, 2),
    87: Operator("LOGICAL_NOT", 63, 1, 1),
    88: Operator("UNPACK", 64, 1, 1),
    89: Operator("REDUCE_MIN", 27, 2, 2),
    90: Operator("FLOOR_DIV", 65, 2, 2),
    92: Operator("SQUARE", 66, 1, 1),
    93: Operator("ZEROS_LIKE", 67, 1, 1),
    94: Operator("FILL", 68, 2, 2),
    95: Operator("FLOOR_MOD", 72, 2, 2),
    97: Operator("RESIZE_NEAREST_NEIGHBOR", 74, 2, 2),
    98: Operator("LEAKY_RELU", 75, 1, 1),
    99: Operator("SQUARED_DIFFERENCE", 76, 2, 2),
    100: Operator("MIRROR_PAD", 77, 2, 2),
    101: Operator("ABS", 78, 1, 1),
    102: Operator("SPLIT_V", 79, 3, 3),
    104: Operator("CEIL", 0, 1, 1),
    105: Operator("REVERSE_V2", 81, 2, 2),
    108: Operator("COS", 84, 1, 1),
    111: Operator("ELU", 0, 1, 1),
    114: Operator("QUANTIZE", 89, 1, 1),
    116: Operator("ROUND", 0, 1, 1),
    117: Operator("HARD_SWISH", 91, 1, 1),
    123: Operator("SELECT_V2", 98, 3, 3),
    126: Operator("BATCH_MATMUL", 101, 2, 2),
    130: Operator("BROADCAST_TO", 104, 2, 2),
    150: Operator("GELU", 116, 1, 1),
    152: Operator("RELU_0_TO_1", 0, 1, 1),
    158: Operator("SIGN", 123, 1, 1),
}
"""By their numbers in the schema. Left out are control flow, variables, strings, random numbers and
whatever no classifier of pictures needs: what is not here was not looked at."""

SEVERAL_OUTPUTS: Final = frozenset({"SPLIT", "SPLIT_V", "UNPACK"})
"""All others have one."""

POSITIVE_OPTIONS: Final = {
    "CONV_2D": ((1, 0), (2, 0), (4, 1), (5, 1)),
    "DEPTHWISE_CONV_2D": ((1, 0), (2, 0), (5, 1), (6, 1)),
    "TRANSPOSE_CONV": ((1, 0), (2, 0)),
    "AVERAGE_POOL_2D": ((1, 0), (2, 0), (3, 0), (4, 0)),
    "MAX_POOL_2D": ((1, 0), (2, 0), (3, 0), (4, 0)),
    "SPACE_TO_DEPTH": ((0, 0),),
    "DEPTH_TO_SPACE": ((0, 0),),
}
"""Slots and defaults of strides, dilations, windows and blocks: a zero divides by zero."""

SIZING_INPUTS: Final = {
    "ARG_MAX": (1,),
    "ARG_MIN": (1,),
    "BATCH_TO_SPACE_ND": (1, 2),
    "BROADCAST_TO": (1,),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "MEAN": (1,),
    "MIRROR_PAD": (1,),
    "PAD": (1,),
    "PADV2": (1,),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "REDUCE_PROD": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "REVERSE_V2": (1,),
    "SLICE": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TILE": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}
"""The inputs of an operation whose values, not only whose shapes, decide how large its output is.

Where none of them depends on the picture, a model takes the same memory for every picture.
"""
