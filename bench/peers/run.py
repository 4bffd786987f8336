"""stagewise beside PyTorch and ONNX Runtime: the same network, weights and batch, in turn, in one run.

Every contestant is a process of its own that sleeps on its stdin until it is asked; only one computes at a time, and
rounds go A B C A B C, so that a machine that slows down slows all of them.
"""
import argparse
import os
import shlex
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import numpy as np  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

import report  # noqa: E402
from peer import Contestant, Dropped, Peer, measured, others_now  # noqa: E402
from torch_network import architecture_of  # noqa: E402

HERE = Path(__file__).resolve().parent
COMPILE_SECONDS = 1800  # a first step may compile for long
PAUSE_SECONDS = 0.05    # OpenMP's threads spin a few milliseconds after their work before they sleep


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--networks", nargs="+", default=["3,3,3", "10,14,8"], help="residual blocks in each stage, or a name that "
        "`stagewise describe --network` knows, such as resnet50")
    add("--modes", nargs="+", choices=["train", "inference"], default=["train", "inference"])
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--precisions", nargs="+", choices=["fp32", "tf32", "bf16"], help="by default fp32 and bf16, on a card all three")
    add("--contestants", nargs="+", help="only these, by their names in the tables")
    add("--batch", type=int, default=128, help="images a training step, and of inference for throughput")
    add("--threads", type=int, default=os.cpu_count())
    add("--rounds", type=int, default=9)
    add("--seconds", type=float, default=1.0, help="of a round of one contestant")
    add("--losses", type=int, default=10, help="identical steps whose losses are compared")
    add("--slowest", type=float, default=20.0, help="seconds a step may take; who is slower is left out")
    add("--busy", type=float, default=0.05, help="cores that others may use before a round is repeated")
    add("--retries", type=int, default=3, help="how often a round is repeated for want of quiet")
    add("--waiting", choices=["auto", "active", "passive"], default="auto", help="of OpenMP's threads: active is as "
        "OpenMP comes, they spin before they sleep: best alone, ruinous beside others; auto looks how quiet it is")
    add("--quick", action="store_true", help="three short rounds, repeated for nothing")
    add("--build", default="build", help="the build folder, with bench/peers/peer_worker in it")
    options = parser.parse_args()
    options.precisions = options.precisions or (["fp32", "bf16"] if options.device == "cpu" else ["fp32", "tf32", "bf16"])
    if options.device == "cpu" and "tf32" in options.precisions:
        parser.error("--precisions: only --device cuda computes in tf32")
    if options.quick:
        options.rounds, options.seconds, options.retries = 3, 0.5, 0
    return options


def contestants(options, network, mode, precision, batch):
    common = ["--batch", str(batch), "--threads", str(options.threads), "--device", options.device,
              "--initial", str(initial_folder(options, network))]
    torch = [sys.executable, str(HERE / "torch_worker.py"), *common, "--mode", mode, "--precision", precision]
    ours = ["--precision", "fp32", "--tf32", "on"] if precision == "tf32" else ["--precision", precision]
    every = [Contestant("ours", [str(worker_path(options)), *common, *ours])]
    graphs = options.device == "cuda" and mode == "train"
    for engine in ("eager", "compile", "graph") if graphs else ("eager", "compile"):
        for layout in ("nchw", "nhwc"):
            every.append(Contestant(f"torch-{engine}-{layout}", [*torch, "--engine", engine, "--layout", layout]))
    if mode == "inference" and precision == "fp32" and options.device == "cpu":
        every.append(Contestant("onnxruntime", [*torch, "--engine", "onnxruntime"]))
    return [c for c in every if not options.contestants or c.name in options.contestants]


def worker_path(options):
    return Path(options.build) / "bench/peers/peer_worker"


def initial_folder(options, network):
    return Path(options.build) / "peers" / network


def prepare(options, network):
    """Weights from our initialiser, one batch of noise."""
    folder = initial_folder(options, network)
    folder.mkdir(parents=True, exist_ok=True)
    command = [worker_path(options), "--network", network, "--write-initial", folder]
    if os.spawnv(os.P_WAIT, command[0], [str(word) for word in command]) != 0:
        raise SystemExit(f"{command[0]} could not write the initial weights; build it with `make bench-peers`")
    architecture, random = architecture_of(folder / "model.safetensors"), np.random.default_rng(1)
    shape = (options.batch, architecture["height"], architecture["width"], 3)
    save_file({"images": random.standard_normal(shape, dtype=np.float32),
               "labels": random.integers(0, architecture["classes"], options.batch, dtype=np.int32)},
              folder / "batch.safetensors")


def warm_up(peer, options, mode):
    """Compiles, proves what is computed, and finds how many steps make a round."""
    command = "steps" if mode == "train" else "infer"
    peer.ask(f"{command} 1", COMPILE_SECONDS)
    step = min(peer.ask(f"{command} 2", COMPILE_SECONDS)["ms"]) / 1e3
    if step > options.slowest:
        raise Dropped(f"a step takes {step:.0f} s")
    peer.work = f"{command} {max(1, round(options.seconds / step))}"
    proof = peer.ask(f"losses {options.losses}" if mode == "train" else "logits", COMPILE_SECONDS)
    peer.ask("memory", 10)  # forgets the peak of compiling
    return proof.get("losses") or proof["logits"]


def play_round(peer, options):
    """One contestant's round, as quiet as it could be had."""
    tries = []
    for _ in range(options.retries + 1):
        time.sleep(PAUSE_SECONDS)
        answer, others = measured(peer, peer.work, COMPILE_SECONDS)
        tries.append((others, answer["ms"]))
        if others <= options.busy:
            break
    return min(tries, key=lambda attempt: attempt[0])


def rerun_line(options, row, name):
    words = [sys.executable, "bench/peers/run.py", "--networks", row["network"], "--modes", row["mode"],
             "--precisions", row["precision"], "--contestants", *dict.fromkeys(["ours", name]),
             "--batch", str(options.batch), "--threads", str(options.threads), "--build", options.build,
             "--device", options.device]
    words += ["--waiting", options.waiting]
    return shlex.join(word.replace(f"{Path.cwd()}/", "") for word in words)


def compare(options, network, mode, precision, batch):
    """All contestants in one setting; what came of each, by name."""
    group = {"network": network, "mode": mode, "precision": precision, "batch": batch, "contestants": {}}
    peers = []
    try:
        for contestant in contestants(options, network, mode, precision, batch):
            result = group["contestants"][contestant.name] = {"rerun": rerun_line(options, group, contestant.name)}
            setting = f"{network} {mode} {precision} batch {batch}"
            print(f"  {setting}: {contestant.name} starts", file=sys.stderr, flush=True)
            try:
                peers.append(Peer(contestant, initial_folder(options, network) / f"{contestant.name}.log"))
                result["proof"] = warm_up(peers[-1], options, mode)
                result["rounds"] = []
            except Dropped as reason:
                result["dropped"] = str(reason)
        playing = [peer for peer in peers if "dropped" not in group["contestants"][peer.name]]
        for _ in range(options.rounds):
            for peer in playing:
                others, milliseconds = play_round(peer, options)
                group["contestants"][peer.name]["rounds"].append({"ms": milliseconds, "others": others})
        for peer in playing:
            group["contestants"][peer.name]["memory"] = peer.ask("memory", 10)["bytes"]
    finally:
        for peer in peers:
            peer.stop()
    return group


def roof_of(options):
    """What the card does at its best, by our worker: what it is, copies on it, and its cores by their properties."""
    folder = initial_folder(options, options.networks[0])
    command = [str(worker_path(options)), "--batch", "2", "--device", "cuda", "--initial", str(folder)]
    try:
        peer = Peer(Contestant("roof", command), folder / "roof.log")
        roof = peer.ask("roof", 60)
    except Dropped as reason:  # no card, and why
        raise SystemExit(str(reason))
    peer.stop()
    print(f"{roof['device']}: copies {roof['gigabytes']:,.0f} GB/s, {roof['gflops']:,.0f} GFLOP/s in fp32 by its properties.")
    return roof


def settle_waiting(options):
    """PyTorch shall be at its best, whatever else runs here."""
    if options.waiting == "auto":
        options.waiting = "passive" if others_now(seconds=3) > options.busy else "active"
        print(f"OpenMP's threads wait in the {options.waiting} way, by how quiet this machine is.")
    if options.waiting == "passive":
        os.environ.update(OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="0", KMP_BLOCKTIME="0")


def main():
    options = parse()
    settle_waiting(options)
    # What torch.compile has compiled once it finds again.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(options.build).resolve() / "peers/inductor"))
    groups = []
    for network in options.networks:
        prepare(options, network)
    options.roof = roof_of(options) if options.device == "cuda" else None
    for network in options.networks:
        for mode in options.modes:
            for precision in options.precisions:
                for batch in [options.batch] if mode == "train" else sorted({1, options.batch}):
                    groups.append(compare(options, network, mode, precision, batch))
                    print(report.table(groups[-1], options), flush=True)
    print(report.reruns(groups))
    path = Path(options.build) / "peers/results.json"
    report.write(path, groups, options)
    print(f"\nEvery round is in {path}.")
    return 1 if any(report.disagreements(group) for group in groups) else 0


if __name__ == "__main__":
    sys.exit(main())
