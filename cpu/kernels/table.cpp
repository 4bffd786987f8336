// The table of one instruction set's kernels.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

extern const Kernels kernels;
const Kernels kernels = {
    .lanes = kLanes,
    .group = {0, kGroup1, kGroup2},
    .stage_rows = stage_rows,
    .convolution_block = convolution_block,
    .weight_gradient_sweep = weight_gradient_sweep,
    .forms = winograd_kernels,
    .moment_sums = moment_sums,
    .batch_norm_forward = batch_norm_forward,
    .batch_norm_reduce = batch_norm_reduce,
    .batch_norm_backward = batch_norm_backward,
    .channel_sums = channel_sums,
    .max_pool_forward = max_pool_forward,
    .max_pool_backward = max_pool_backward,
    .widen = widen,
    .narrow = narrow,
    .add = add,
    .relu_forward = relu_forward,
    .relu_backward = relu_backward,
    .dot = dot,
    .axpy = axpy,
    .axpy_double = axpy_double,
    .scale = scale,
    .sgd = sgd,
    .adamw = adamw,
    .average = average,
    .bytes_to_floats = bytes_to_floats,
};

STAGEWISE_KERNELS_END
