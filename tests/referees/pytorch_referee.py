"""PyTorch judges an export, trains it on, and saves what came of it.

Usage: pytorch_referee.py FOLDER   with network.py and model.safetensors, and case.safetensors: `images` (bytes, NHWC), the
`logits` we give them, and the `losses` of our training steps on the first of them by `labels`. Writes, in the form of a
state_dict without metadata, trained.safetensors and trained_half.safetensors, and the logits of each beside them."""
import sys

sys.dont_write_bytecode = True

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

folder = sys.argv[1]
sys.path.insert(0, folder)
from network import load  # noqa: E402

case = load_file(f"{folder}/case.safetensors")
images = case["images"].permute(0, 3, 1, 2).contiguous()
labels = case["labels"].long()
network = load(f"{folder}/model.safetensors")


def logits():
    with torch.inference_mode():
        return network.eval()(images)


def train(steps, learning_rate=0.003, smoothing=0.1):
    filters = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() == 1]
    optimiser = torch.optim.SGD([{"params": filters, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0}],
                                lr=learning_rate, momentum=0.9, nesterov=True)
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(images[:len(labels)]), labels, label_smoothing=smoothing)
        loss.backward()
        optimiser.step()
        yield loss.item()


difference = (logits() - case["logits"]).abs().max().item()
assert difference <= 1e-4, f"logits differ by {difference}"
losses = torch.tensor(list(train(len(case["losses"]))))
print("logits differ by", difference, "losses by", (losses - case["losses"]).abs().max().item())
assert torch.allclose(losses, case["losses"], rtol=1e-5, atol=0), f"losses {losses} are not {case['losses']}"

save_file(network.state_dict(), f"{folder}/trained.safetensors")
save_file({"logits": logits()}, f"{folder}/trained_logits.safetensors")
halves = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
save_file(halves, f"{folder}/trained_half.safetensors")
network.load_state_dict({name: value.float() for name, value in halves.items()})
save_file({"logits": logits()}, f"{folder}/trained_half_logits.safetensors")
