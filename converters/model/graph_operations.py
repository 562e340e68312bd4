"""The TensorFlow operations that a SavedModel of edgeemo may hold.

A list of what is allowed, not of what is dangerous: TensorFlow has some 1,400 operations, calls
some stateless that write files or open connections, and gets new ones with each version.
"""

from typing import Final

COMPUTING: Final = frozenset(
    {
        "Abs", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "ArgMin", "AssignVariableOp",
        "AvgPool", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "BatchToSpaceND", "BiasAdd",
        "BiasAddV1", "BroadcastArgs", "BroadcastGradientArgs", "BroadcastTo", "Cast", "Ceil",
        "ClipByValue", "Concat", "ConcatOffset", "ConcatV2", "Const", "Conv2D",
        "Conv2DBackpropInput", "Cos", "Cumsum", "DepthToSpace", "DepthwiseConv2dNative",
        "DisableCopyOnRead", "Div", "DivNoNan", "Einsum", "Elu", "EluGrad", "EnsureShape", "Equal",
        "Erf", "Erfc", "Exp", "ExpandDims", "Expm1", "FakeQuantWithMinMaxArgs",
        "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel", "Fill", "Floor", "FloorDiv",
        "FloorMod", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Gather", "GatherNd",
        "GatherV2", "Greater", "GreaterEqual", "Identity", "IdentityN", "Inv", "InvertPermutation",
        "LRN", "LeakyRelu", "LeakyReluGrad", "Less", "LessEqual", "Log", "Log1p", "LogSoftmax",
        "LogicalAnd", "LogicalNot", "LogicalOr", "MatMul", "Max", "MaxPool", "MaxPoolV2", "Maximum",
        "Mean", "Min", "Minimum", "MirrorPad", "Mod", "Mul", "MulNoNan", "Neg", "NoOp", "NotEqual",
        "OneHot", "OnesLike", "Pack", "Pad", "PadV2", "PartitionedCall", "Placeholder",
        "PlaceholderWithDefault", "Pow", "PreventGradient", "Prod", "Range", "Rank",
        "ReadVariableOp", "RealDiv", "Reciprocal", "Relu", "Relu6", "Relu6Grad", "ReluGrad",
        "Reshape", "ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor",
        "Reverse", "ReverseV2", "Rint", "Roll", "Round", "Rsqrt", "RsqrtGrad", "Select", "SelectV2",
        "Selu", "SeluGrad", "Shape", "ShapeN", "Sigmoid", "SigmoidGrad", "Sign", "Sin", "Size",
        "Slice", "Softmax", "Softplus", "SoftplusGrad", "Softsign", "SoftsignGrad",
        "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV", "Sqrt", "SqrtGrad", "Square",
        "SquaredDifference", "Squeeze", "StatefulPartitionedCall", "StopGradient", "StridedSlice",
        "StringLength", "Sub", "Sum", "Tanh", "TanhGrad", "Tile", "TopKV2", "Transpose", "Unpack",
        "VarHandleOp", "VarIsInitializedOp", "Where", "ZerosLike",
    }
)  # fmt: skip
"""They compute from the input and the weights, read and set the weights, or call a function."""

SAVING: Final = frozenset(
    {
        "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename", "StaticRegexFullMatch",
        "StringJoin",
    }
)  # fmt: skip
"""What TensorFlow adds for saving the weights again. They write and remove files, and are allowed
only where nothing calls them."""
