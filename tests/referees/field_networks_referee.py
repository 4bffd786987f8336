"""Writes networks as the field's programs save them, with random weights and statistics, and what they answer.

Usage: field_networks_referee.py FOLDER   Writes NAME.safetensors, a state_dict, and NAME_case.safetensors, `images` (NHWC,
normalised) and their `logits`, for NAME = basic and bottleneck (torchvision's) and akamaster (the names of
akamaster/pytorch_resnet_cifar10, shortcuts without parameters)."""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

folder = sys.argv[1]
torch.manual_seed(1)


class CifarBlock(nn.Module):
    """He et al. 2016, section 4.2, shortcut A."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.zeros = stride, (after - before) // 2

    def forward(self, x):
        skip = x[:, :, ::self.stride, ::self.stride]
        skip = F.pad(skip, (0, 0, 0, 0, self.zeros, self.zeros))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + skip)


class CifarNetwork(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(CifarBlock(16, 16, 1), CifarBlock(16, 16, 1))
        self.layer2 = nn.Sequential(CifarBlock(16, 32, 2), CifarBlock(32, 32, 1))
        self.layer3 = nn.Sequential(CifarBlock(32, 64, 2), CifarBlock(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


networks = {
    "basic": (ResNet(BasicBlock, [2, 1, 1, 1], num_classes=7), 224),
    "bottleneck": (ResNet(Bottleneck, [1, 2, 1, 1], num_classes=7), 224),
    "akamaster": (CifarNetwork(7), 32),
}
for name, (network, side) in networks.items():
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        logits = network.eval()(images)
    save_file(network.state_dict(), f"{folder}/{name}.safetensors")
    save_file({"images": images.permute(0, 2, 3, 1).contiguous(), "logits": logits}, f"{folder}/{name}_case.safetensors")
