"""PyTorch's and ONNX Runtime's side of the comparison: the same commands on stdin as worker.cpp, the same answers."""
import argparse
import contextlib
import json
import re
import sys
import time

import torch
import torch.nn.functional as F

from torch_network import ResNet, architecture_of, load_batch, load_weights


class TorchWorker:
    def __init__(self, options):
        self.options = options
        torch.set_num_threads(options.threads)
        if options.device == "cuda":
            torch.backends.cudnn.benchmark = True  # the fastest plan for these shapes
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
        self.format = torch.channels_last if options.layout == "nhwc" else torch.contiguous_format
        images, labels = load_batch(f"{options.initial}/batch.safetensors", options.batch)
        self.images = images.contiguous(memory_format=self.format).to(options.device)
        self.labels = labels.to(options.device)
        self.network = ResNet(architecture_of(f"{options.initial}/model.safetensors"))
        self.network.to(options.device, memory_format=self.format)
        self.restart()
        self.forward = self.compiled(self.network)
        self.loss = self.compiled(self.loss_of_batch)

    def compiled(self, function):
        if self.options.engine != "compile":
            return function
        # On a card, with CUDA graphs of its own.
        return torch.compile(function, mode="reduce-overhead" if self.options.device == "cuda" else None)

    def loss_of_batch(self, images, labels):
        return F.cross_entropy(self.network(images), labels, label_smoothing=self.options.smoothing)

    def restart(self):
        load_weights(self.network, f"{self.options.initial}/model.safetensors")
        decayed = [p for p in self.network.parameters() if p.dim() > 1]
        others = [p for p in self.network.parameters() if p.dim() == 1]
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.SGD(groups, lr=self.options.learning_rate, momentum=0.9, nesterov=True, fused=True)
        self.graph, self.eager_steps = None, 0

    def precision(self):
        if self.options.precision == "bf16":
            return torch.autocast(self.options.device, torch.bfloat16, cache_enabled=self.options.engine != "graph")
        return contextlib.nullcontext()

    def queue_step(self):
        with self.precision():
            self.last = self.loss(self.images, self.labels)
        self.optimiser.zero_grad(set_to_none=True)
        self.last.backward()
        self.optimiser.step()

    def step(self):
        """With `graph`, the whole step is a CUDA graph from the fourth on (docs.pytorch.org/docs/stable/notes/cuda.html)."""
        if self.options.engine != "graph":
            self.queue_step()
        elif self.graph is not None:
            self.graph.replay()
        elif self.eager_steps < 3:
            self.eager_steps += 1
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                self.queue_step()
            torch.cuda.current_stream().wait_stream(beside)
        else:
            self.optimiser.zero_grad(set_to_none=True)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.queue_step()
            self.graph.replay()

    def wait(self):
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def memory(self):
        if self.options.device != "cuda":
            return resident_memory()
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return {"bytes": peak}

    def steps(self, count):
        self.network.train()
        return {"ms": timed(count, self.step, self.wait), "loss": self.last.item()}

    def losses(self, count):
        self.restart()
        self.network.train()
        losses = []
        for _ in range(count):
            self.step()
            losses.append(self.last.item())
        return {"losses": losses}

    def infer_once(self):
        with torch.inference_mode(), self.precision():
            return self.forward(self.images)

    def infer(self, count):
        self.network.eval()
        return {"ms": timed(count, self.infer_once, self.wait)}

    def logits(self):
        self.network.eval()
        return {"logits": self.infer_once().float().flatten().tolist()}


class OnnxWorker:
    """The network exported from PyTorch, run by ONNX Runtime: inference in fp32."""

    def __init__(self, options):
        import onnxruntime

        images, _ = load_batch(f"{options.initial}/batch.safetensors", options.batch)
        network = ResNet(architecture_of(f"{options.initial}/model.safetensors"))
        load_weights(network, f"{options.initial}/model.safetensors")
        path = f"{options.initial}/batch{options.batch}.onnx"
        with contextlib.redirect_stdout(sys.stderr):  # the exporter tells its progress; stdout is for answers
            torch.onnx.export(network.eval(), (images,), path, input_names=["images"], dynamo=True)
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = options.threads
        self.session = onnxruntime.InferenceSession(path, session, providers=["CPUExecutionProvider"])
        self.feed = {"images": images.numpy()}

    def infer(self, count):
        return {"ms": timed(count, lambda: self.session.run(None, self.feed))}

    def memory(self):
        return resident_memory()

    def logits(self):
        return {"logits": self.session.run(None, self.feed)[0].flatten().tolist()}


def timed(count, work, wait=lambda: None):
    milliseconds = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        wait()
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return milliseconds


def resident_memory():
    """Peak resident memory since this was last asked (worker.cpp does the same)."""
    with open("/proc/self/status") as status:
        kilobytes = int(re.search(r"VmHWM:\s*(\d+)", status.read())[1])
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    return {"bytes": kilobytes * 1024}


def answer(worker, command, count=None):
    if command == "memory":
        return worker.memory()
    if command == "logits":
        return worker.logits()
    if command in ("steps", "losses", "infer") and count is not None and hasattr(worker, command):
        return getattr(worker, command)(int(count))
    raise SystemExit(f"expected `steps N`, `losses N`, `infer N`, `logits` or `memory`, got `{command} {count or ''}`")


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["eager", "compile", "graph", "onnxruntime"], required=True)
    parser.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--mode", choices=["train", "inference"], default="train")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--initial", required=True, help="folder with model.safetensors and batch.safetensors")
    return parser.parse_args()


def main():
    options = parse()
    if options.engine == "compile" and options.mode == "inference":
        import torch._inductor.config as inductor
        inductor.freezing = True  # weights become constants: batch norms fold into them, oneDNN packs them once
    worker = OnnxWorker(options) if options.engine == "onnxruntime" else TorchWorker(options)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(worker, *line.split())), flush=True)


if __name__ == "__main__":
    main()
