"""The loader of `make bench-peers` reads a model that was trained and has grown.

Usage: peers_referee.py FOLDER_OF_THE_LOADER MODEL.safetensors CASE.safetensors"""
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

import torch  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from torch_network import ResNet, architecture_of, load_weights  # noqa: E402

model, case = load_file(sys.argv[2]), load_file(sys.argv[3])
network = ResNet(architecture_of(sys.argv[2])).eval()
load_weights(network, sys.argv[2])
pixels = case["images"].astype("float32") * model["normalisation.scale"] - model["normalisation.offset"]
with torch.inference_mode():
    logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
assert abs(logits - case["logits"]).max() <= 1e-4, abs(logits - case["logits"]).max()
