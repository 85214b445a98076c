"""PyTorch as a peer: says on a line of JSON what runs, then reads a case a line from standard input and answers each with a line
of JSON. See ../README.md.

    bench.py [--device cpu|cuda] [--tf32] [--amp] [--channels-last] [--samples N] [--seconds S]
"""

import argparse
import json
import platform
import re
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

TAU = 0.07
KEEP = 0.5  # the weight of a bank row's old value
LR = 1e-3  # keeps weights finite on random pixels
BANK = (128, 50_000)  # what makes a product one with the bank


def convolution(words):
    """The sizes in `b4 64->64 32x32 k3 s1 [g32]`, and the operations of a forward pass, two for a multiply-add."""
    batch, channels, side, kernel, stride, *groups = words
    i, o = map(int, channels.split("->"))
    n, k, s = int(batch[1:]), int(kernel[1:]), int(stride[1:])
    side = int(side.split("x")[0])
    g = int(groups[0][1:]) if groups else 1
    out = (side + 2 * (k // 2) - k) // s + 1
    return n, i, o, side, k, s, g, 2.0 * n * out * out * o * k * k * (i // g)


class Unit(nn.Sequential):
    """A convolution and its batch norm."""

    def __init__(self, i, o, kernel, stride):
        super().__init__(nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(o))


class Residual(nn.Module):
    def __init__(self, i, width, stride, bottleneck):
        super().__init__()
        if bottleneck:
            o = 4 * width
            body = [Unit(i, width, 1, 1), Unit(width, width, 3, stride), Unit(width, o, 1, 1)]
        else:
            o = width
            body = [Unit(i, o, 3, stride), Unit(o, o, 3, 1)]
        self.body = nn.ModuleList(body)
        self.shortcut = Unit(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

    def forward(self, x):
        y = x
        for number, unit in enumerate(self.body):
            y = unit(F.relu(y) if number else y)
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Images [n, 3, side, side] to unit vectors [n, dim]."""

    def __init__(self, arch, width, side, dim):
        super().__init__()
        counts = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}[arch]
        bottleneck = arch == "resnet50"
        if side > 64:
            layers = [Unit(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        else:
            layers = [Unit(3, width, 3, 1), nn.ReLU()]
        channels = width
        for stage, count in enumerate(counts):
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(Residual(channels, width << stage, stride, bottleneck))
                channels = (width << stage) * (4 if bottleneck else 1)
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, dim)

    def forward(self, x):
        return F.normalize(self.fc(self.layers(x).mean((2, 3))), dim=1)

    def flops(self, images):
        """Operations that a step counts: three times the forward convolutions."""
        found = []

        def count(module, _, out):
            found.append(2.0 * out.numel() * module.weight[0].numel())

        hooks = [m.register_forward_hook(count) for m in self.modules() if isinstance(m, nn.Conv2d)]
        with torch.no_grad():
            self(images)
        for hook in hooks:
            hook.remove()
        return 3 * sum(found)


class Peer:
    def __init__(self, options):
        self.options = options
        self.device = options.device
        self.half = torch.float16 if self.device == "cuda" else torch.bfloat16
        torch.backends.cuda.matmul.allow_tf32 = options.tf32
        torch.backends.cudnn.allow_tf32 = options.tf32
        torch.backends.cudnn.benchmark = True

    def about(self):
        o = self.options
        cuda = self.device == "cuda"
        told = ["AMP" if o.amp else "TF32" if o.tf32 and cuda else "float32"]
        if o.channels_last:
            told.append("channels last")
        if not cuda:
            told.append(f"{torch.get_num_threads()} threads")
        return {
            "name": "PyTorch",
            "version": torch.__version__,
            "adapter": torch.cuda.get_device_name() if cuda else processor(),
            "driver": f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}" if cuda else "oneDNN",
            "options": ", ".join(told),
        }

    def sync(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def random(self, *shape):
        """What an operation is given: of half the width where --amp asks for it, as autocast would cast it."""
        x = torch.rand(*shape, device=self.device) - 0.5
        if self.options.amp:
            x = x.to(self.half)
        if self.options.channels_last and x.dim() == 4:
            x = x.to(memory_format=torch.channels_last)
        return x

    def prepare(self, line):
        """One run of the case, and the operations that it counts."""
        name, shape = line.split(" ", 1)
        words = shape.split(" ")
        if name == "gemm":
            m, k, n = map(int, shape.split("x"))
            x, w = self.random(m, k), self.random(n, k)  # a linear layer's weights and the bank alike
            return lambda: F.linear(x, w), 2.0 * m * k * n
        if name == "conv2d.forward":
            n, i, o, side, k, s, g, flops = convolution(words)
            x, w = self.random(n, i, side, side), self.random(o, i // g, k, k)
            return lambda: F.conv2d(x, w, None, s, k // 2, 1, g), flops
        if name == "conv2d.forward+backward":
            n, i, o, side, k, s, g, flops = convolution(words)
            x, w = self.random(n, i, side, side).requires_grad_(), self.random(o, i // g, k, k).requires_grad_()
            dy = torch.ones_like(F.conv2d(x, w, None, s, k // 2, 1, g))
            return lambda: torch.autograd.grad(F.conv2d(x, w, None, s, k // 2, 1, g), (x, w), dy), 3 * flops
        if name == "train_step":
            return self.training(words)
        raise ValueError(f"`{line}` names no case")

    def training(self, words):
        """Forward, loss, backward, SGD, and the bank rows of the batch. A step returns its loss, still on the device."""
        arch, width, batch, side, _, negatives, rows, dim = words
        width, batch, negatives, rows, dim = (int(w[1:]) for w in (width, batch, negatives, rows, dim))
        side = int(side.split("x")[0])
        net = ResNet(arch, width, side, dim).to(self.device)
        images = torch.randn(batch, 3, side, side, device=self.device)
        flops = net.flops(images)
        if self.options.channels_last:
            net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
        optimiser = torch.optim.SGD(net.parameters(), LR, momentum=0.9, weight_decay=5e-4)
        scaler = torch.amp.GradScaler(self.device, enabled=self.options.amp and self.device == "cuda")
        bank = F.normalize(torch.randn(rows, dim, device=self.device))
        own = torch.arange(batch, device=self.device)
        noise = negatives / rows

        def step():
            optimiser.zero_grad()
            with torch.autocast(self.device, dtype=self.half, enabled=self.options.amp):
                f = net(images)
            f = f.float()
            drawn = torch.randint(rows, (batch, negatives), device=self.device)
            gathered = bank[torch.cat([own[:, None], drawn], 1)]
            # h = P / (P + m / n) with P = exp(score / tau) / Z and Z = n, as if the constant had been estimated so.
            p = torch.bmm(gathered, f[:, :, None])[:, :, 0].div(TAU).exp() / rows
            mine, others = p[:, :1], p[:, 1:]
            loss = -((mine / (mine + noise)).log().sum() + (noise / (others + noise)).log().sum()) / batch
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            with torch.no_grad():
                bank[own] = F.normalize(KEEP * bank[own] + (1 - KEEP) * f)
            return loss

        return step, flops


class Timed:
    """A case made ready to be sampled again and again."""

    def __init__(self, peer, line):
        self.peer = peer
        self.times = 1
        start = time.perf_counter()
        self.run, self.flops = peer.prepare(line)
        self.seconds()
        self.first_ms = (time.perf_counter() - start) * 1e3
        for _ in range(2):
            self.times = max(1, -int(-peer.options.seconds // max(self.seconds(), 1e-9)))

    def seconds(self):
        """Seconds a run, as the mean of a sample's."""
        self.peer.sync()
        start = time.perf_counter()
        for _ in range(self.times):
            self.run()
        self.peer.sync()
        return (time.perf_counter() - start) / self.times

    def sample(self, line):
        found = [self.seconds() * 1e3 for _ in range(max(1, self.peer.options.samples))]
        median = sorted(found)[len(found) // 2]
        case, shape = line.split(" ", 1)
        return {
            "case": case,
            "shape": shape,
            "median_ms": median,
            "samples_ms": found,
            "gflops": self.flops / median / 1e6,
            "first_ms": self.first_ms,
        }


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            return re.search(r"model name\s*: (.*)", info.read()).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05)
    peer = Peer(parser.parse_args())
    print(json.dumps(peer.about()), flush=True)
    held = (None, None)  # the last case stays prepared, so that asking again costs its samples alone
    for line in sys.stdin:
        line = line.strip()
        try:
            if held[0] != line:
                held = (None, None)
                held = (line, Timed(peer, line))
            answer = held[1].sample(line)
        except (RuntimeError, ValueError, KeyError, IndexError) as error:
            held = (None, None)
            answer = {"case": line, "error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
