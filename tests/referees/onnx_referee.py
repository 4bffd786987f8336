"""ONNX's checker and ONNX Runtime judge exported files.

Usage: onnx_referee.py CASE.safetensors FILE.onnx...   CASE holds `images` (bytes, NHWC) and what `logits` we give them.
Prints each file's numbers of nodes and its metadata as a line of JSON."""
import collections
import json
import sys

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

case = load_file(sys.argv[1])
images = case["images"].transpose(0, 3, 1, 2).astype(np.float32)
for path in sys.argv[2:]:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3, len(images)):
        logits, = session.run(["logits"], {"images": images[:count]})
        difference = np.abs(logits - case["logits"][:count]).max()
        assert logits.shape == (count, case["logits"].shape[1]) and difference <= 1e-4, f"{path}: {difference}"
    nodes = collections.Counter(node.op_type for node in model.graph.node)
    print(json.dumps({"nodes": nodes, "about": session.get_modelmeta().custom_metadata_map}))
