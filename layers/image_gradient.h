// Which way a trained network's answer is changed by its images, where training asks that of its weights.
#pragma once

#include "layers/network.h"

namespace stagewise {

/// The gradient of the mean cross entropy by the images x [N,H,W,C], of the network as it answers: with its running
/// statistics. `labels` are int32 [N]. Errors: throws Error for images of another size.
Tensor image_gradient(const Network& network, const Tensor& x, const Tensor& labels);

}  // namespace stagewise
