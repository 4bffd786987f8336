"""A contestant's process, spoken to over its stdin and stdout, and how quiet the machine was meanwhile."""
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass

import psutil


class Dropped(Exception):
    """This contestant can't take part; the message says why."""


@dataclass
class Contestant:
    name: str
    command: list


class Peer:
    def __init__(self, contestant, log_path):
        self.name = contestant.name
        self.log_path = log_path
        with open(log_path, "w") as log:
            self.process = subprocess.Popen(contestant.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
        self.buffered = b""
        self.answer_within(300)

    def ask(self, command, seconds):
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        return self.answer_within(seconds)

    def answer_within(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffered:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Dropped(f"no answer within {seconds:.0f} s")
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                raise Dropped(self.last_words())
            self.buffered += chunk
        line, self.buffered = self.buffered.split(b"\n", 1)
        return json.loads(line)

    def last_words(self):
        with open(self.log_path) as log:
            lines = [line.strip() for line in log if line.strip()]
        return lines[-1][:200] if lines else f"ended with exit code {self.process.wait()}"

    def cpu_seconds(self):
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def stop(self):
        self.process.kill()
        self.process.wait()


def busy_seconds():
    """CPU time of everything on this machine, and what the hypervisor gave to others."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal


def measured(peer, command, seconds):
    """The answer, and what share of one core others took meanwhile: idle contestants that don't sleep count too."""
    start, busy, own = time.monotonic(), busy_seconds(), peer.cpu_seconds()
    answer = peer.ask(command, seconds)
    others = (busy_seconds() - busy) - (peer.cpu_seconds() - own)
    return answer, max(0.0, others / (time.monotonic() - start))


def others_now(seconds):
    """How many cores are in use while we sleep."""
    start, busy = time.monotonic(), busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - busy) / (time.monotonic() - start)
