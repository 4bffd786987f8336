"""What a person reads, and what a program reads, of a comparison."""
import datetime
import json
import os
import platform
import subprocess
from importlib import metadata
from statistics import median

import numpy as np

# How far from ours a proof may be, relative to its largest value. Ten steps of a shallow network from the same weights
# agree to about 2e-5 in fp32 at this learning rate; rounding alone drives deep networks apart, PyTorch's own variants
# too, so that as far as those are apart is allowed as well.
TOLERANCE = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 3e-2}


def rates(group, result):
    """Images a second of each round."""
    return [1e3 * group["batch"] * len(r["ms"]) / sum(r["ms"]) for r in result["rounds"]]


def ratio(group, result):
    """Ours over theirs, round by round: what slows a round of both cancels."""
    ours = group["contestants"].get("ours", {})
    if not ours.get("rounds") or not result.get("rounds"):
        return None
    return median(a / b for a, b in zip(rates(group, ours), rates(group, result)))


def far_apart(one, other):
    """Of two proofs, relative; None where one of them is missing."""
    if one is None or other is None:
        return None
    count = min(len(one), len(other))
    a, b = np.array(one[:count], dtype=float), np.array(other[:count], dtype=float)
    far = np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)
    return float(far) if np.isfinite(far) else float("inf")


def distance(group, result):
    """From our losses or logits."""
    return far_apart(group["contestants"].get("ours", {}).get("proof"), result.get("proof"))


def tolerance(group):
    theirs = [r["proof"] for name, r in group["contestants"].items() if name != "ours" and r.get("proof")]
    among_them = [far_apart(a, b) for i, a in enumerate(theirs) for b in theirs[:i]]
    return max([TOLERANCE[group["precision"]], *(far for far in among_them if far < float("inf"))])


def disagreements(group):
    distances = {name: distance(group, result) for name, result in group["contestants"].items()}
    return {name: far for name, far in distances.items() if far is not None and far > tolerance(group)}


def latencies(result):
    times = [ms for r in result["rounds"] for ms in r["ms"]]
    return np.percentile(times, 50), np.percentile(times, 99)


def rate(images):
    return f"{images:,.0f}" if images >= 100 else f"{images:.3g}"


def row(group, name, result, busy):
    if "dropped" in result:
        return f"| {name} | – | – | – | – | – | – | {result['dropped']} |"
    images = rates(group, result)
    p50, p99 = latencies(result)
    times_ours, far = ratio(group, result), distance(group, result)
    loud = sum(r["others"] > busy for r in result["rounds"])
    note = f"{loud} of {len(images)} rounds not quiet" if loud else ""
    return (f"| {name} | {rate(median(images))} | {rate(min(images))} to {rate(max(images))} | "
            f"{'–' if times_ours is None else f'{times_ours:.2f}'} | {p50:.2f} / {p99:.2f} | "
            f"{result['memory'] / 2**20:,.0f} | {'–' if far is None else f'{far:.0e}'} | {note} |")


def table(group, options):
    what = "training step" if group["mode"] == "train" else "forward pass in evaluation mode"
    proof = f"{options.losses} losses" if group["mode"] == "train" else "logits"
    lines = [f"\n### Blocks {group['network']}, {what}, {group['precision']}, batch {group['batch']}, "
             f"{options.roof['device'].split(',')[0] if options.roof else f'{options.threads} threads'}\n",
             f"| contestant | images/s, median | lowest to highest | ours / theirs | ms p50 / p99 | peak MiB | "
             f"{proof} differ by | |", "|---|---|---|---|---|---|---|---|"]
    lines += [row(group, name, result, options.busy) for name, result in group["contestants"].items()]
    return "\n".join(lines + [""] + losses(group) + best(group, options) + warnings(group, options))


def losses(group):
    if group["mode"] != "train":
        return []
    shown = {name: r["proof"][:5] for name, r in group["contestants"].items() if r.get("proof")}
    return ["First losses from the same weights:"] + [
        f"    {name:20s} {'  '.join(f'{loss:.5f}' for loss in first)}" for name, first in shown.items()]


def is_loud(result, busy):
    return any(r["others"] > busy for r in result.get("rounds", []))


def best(group, options):
    theirs = {name: median(rates(group, r)) for name, r in group["contestants"].items()
              if name.startswith("torch") and r.get("rounds")}
    if not theirs:
        return []
    name = max(theirs, key=theirs.get)
    times_ours = ratio(group, group["contestants"][name])
    verdict = "" if times_ours is None else f"; ours does {times_ours:.2f} times as many"
    loud = any(is_loud(r, options.busy) for r in group["contestants"].values())
    return [f"\nPyTorch's best: {name}, {rate(theirs[name])} images/s{verdict}"
            f"{' (not quiet: see below)' if loud else ''}."]


def warnings(group, options):
    lines = [f"\n**WARNING: {name}'s results differ from ours by {far:.1e}, more than {tolerance(group):.1e}: "
             "not the same work, so not a fair comparison.**" for name, far in disagreements(group).items()]
    rounds = [r["others"] for result in group["contestants"].values() for r in result.get("rounds", [])]
    loud = [others for others in rounds if others > options.busy]
    if loud:
        lines.append(f"\n**The machine was not quiet: in {len(loud)} of {len(rounds)} rounds others used more than "
                     f"{options.busy} cores (median of those {median(loud):.2f}). Don't quote these ratios: "
                     "neighbours slow the contestants unequally, PyTorch most with `--waiting active`.**")
    return lines


def reruns(groups):
    lines = ["\n### To run one row again, beside ours\n"]
    for group in groups:
        lines += [result["rerun"] for result in group["contestants"].values()]
    return "\n".join(dict.fromkeys(lines))


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write(path, groups, options):
    versions = {name: metadata.version(name) for name in ("torch", "onnxruntime", "onnx", "numpy")}
    context = {"machine": processor(), "cores": os.cpu_count(), "system": platform.platform(),
               "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
               "commit": output_of("git", "describe", "--always", "--dirty"), "versions": versions,
               "options": vars(options)}
    with open(path, "w") as file:
        json.dump({"context": context, "groups": groups}, file, indent=1)
