"""What PyTorch's AdamW makes of three parameters in five steps: prints tests/adamw_figures.h.

python3 tests/data/adamw/figures.py >tests/adamw_figures.h && clang-format -i tests/adamw_figures.h

The first parameter is fresh and decays. The second, without decay, has 999 steps behind it. The third, which decays
too, joins at the third step, as a block does that is put into a growing network. In float64, on the CPU.
"""
import torch

ELEMENTS, STEPS, DECAY, JOINS = 3, 5, 0.25, 2
RATES = [1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 64]
SETTINGS = [(0.9, 0.999, 1e-8), (0.75, 0.95, 0.125)]  # beta1, beta2, epsilon


def tensor(number):
    return torch.tensor([number(i) for i in range(ELEMENTS)], dtype=torch.float64)


def gradient(parameter, step):
    return tensor(lambda i: ((7 * step + 5 * i + 3 * parameter) % 11 - 5) / 8)


def trained(beta1, beta2, epsilon):
    values = [torch.nn.Parameter(tensor(lambda i, p=p: ((3 * i + p) % 7 - 3) / 4)) for p in range(3)]
    options = dict(betas=(beta1, beta2), eps=epsilon, foreach=False)
    decays, stays = [dict(params=[values[p]], weight_decay=decay) for p, decay in ((0, DECAY), (1, 0.0))]
    optimiser = torch.optim.AdamW([decays, stays], **options)
    optimiser.state[values[1]] = {
        "step": torch.tensor(999.0),
        "exp_avg": tensor(lambda i: (i - 1) / 16),
        "exp_avg_sq": tensor(lambda i: (i + 1) / 64),
    }
    history = []
    for step in range(STEPS):
        if step == JOINS:
            optimiser.add_param_group(dict(params=[values[2]], weight_decay=DECAY))
        for p, value in enumerate(values):
            value.grad = gradient(p, step)
        for group in optimiser.param_groups:
            group["lr"] = RATES[step]
        optimiser.step()
        history.append([value.detach().tolist() for value in values])
    moments = [[optimiser.state[value][name].tolist() for value in values] for name in ("exp_avg", "exp_avg_sq")]
    return [[h[p] for h in history] for p in range(3)], *moments


def braces(numbers):
    return "{" + ", ".join(braces(n) if isinstance(n, list) else repr(n) for n in numbers) + "}"


print(f"// What PyTorch {torch.__version__.split('+')[0]} makes of three parameters: tests/data/adamw/figures.py made this file, and says how.")
print("#pragma once\n\nnamespace stagewise::adamw_figures {\n")
print(f"constexpr int kElements = {ELEMENTS}, kSteps = {STEPS}, kJoins = {JOINS};")
print(f"constexpr double kDecay = {DECAY}, kRates[kSteps] = {braces(RATES)};\n")
print("struct Figures {\n  double beta1, beta2, epsilon;")
print("  double values[3][kSteps][kElements];  // after each step")
print("  double first[3][kElements], second[3][kElements];  // after the last\n};\n")
print("constexpr Figures kFigures[] = {")
print(",\n".join(braces([*setting, *trained(*setting)]) for setting in SETTINGS))
print("};\n\n}  // namespace stagewise::adamw_figures")
