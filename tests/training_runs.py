"""Trainings inside the test process: the child's work without the child, so that torch is loaded once."""

from __future__ import annotations

import functools
import gc
import json
import os
import random
from pathlib import Path
from typing import Any
from unittest import mock

from bptools.training.events import Event

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "and",
    "sleeps",
    "in",
    "warm",
    "sun",
    "one",
    "two",
    "three",
    "please",
    "answer",
]


def sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def write_records(path: Path, shape: str, count: int, seed: int = 1) -> str:
    """Write records of a shape that a tiny model can learn something from."""
    chance = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            prompt = [{"role": "user", "content": f"say {sentence(chance, chance.randint(2, 9))}"}]
            answer = [{"role": "assistant", "content": f"{sentence(chance, chance.randint(3, 20))}."}]
            record: dict[str, Any] = {
                "chat": {"messages": prompt + answer},
                "text": {"text": answer[0]["content"]},
                "preference": {
                    "prompt": prompt,
                    "chosen": answer,
                    "rejected": [{"role": "assistant", "content": "no no no"}],
                },
                "rated": {"prompt": prompt, "completion": answer, "label": number % 2 == 0},
            }[shape]
            file.write(json.dumps({**record, "id": number}) + "\n")
    return str(path)


class Events(list[Event]):
    """Takes the place of an Emitter."""

    def __call__(self, name: str, **facts: Any) -> None:
        self.append({"event": name, **facts})

    def of(self, name: str) -> list[Event]:
        return [event for event in self if event["event"] == name]


@functools.cache
def settle() -> None:
    """Load the libraries, and take what they made out of the collector's sight.

    Every training collects garbage once, which takes 0.4 s with those objects to look through.
    """
    import peft  # noqa: F401
    import torch  # noqa: F401
    import trl

    trl.SFTTrainer, trl.DPOTrainer, trl.KTOTrainer  # noqa: B018 - loaded where they are first named
    gc.collect()
    gc.freeze()


class Run:
    """A run that was made here: its directory, what it said, and its status.

    No picture of its curves is drawn, which takes as long as a dozen steps: runs in processes have theirs.
    """

    def __init__(
        self,
        source: str,
        runs: Path,
        *,
        name: str | None = None,
        evaluation: str | None = None,
        fresh: bool = False,
        **settings: Any,
    ) -> None:
        from bptools.chat import Options
        from bptools.core.pipeline import Pipeline
        from bptools.core.pipeline_settings import PipelineSettings
        from bptools.training.plan import Request, make_plan
        from bptools.training.settings import Settings

        settle()

        def pipe(path: str) -> Pipeline:
            settings = PipelineSettings(sources=[path], output=os.devnull, quiet=True, progress=False)
            return Pipeline("bp-train", settings)

        to = "text" if settings.get("method") in ("cpt", "pretrain") else "auto"
        request = Request(runs=str(runs), path=str(runs / name) if name else None, fresh=fresh)
        values = {"threads": 1, "device": "cpu", "samples": 0, **settings}
        held_out = pipe(evaluation) if evaluation else None
        self.planned = make_plan(Settings(**values), request, pipe(source), Options(to=to), held_out)
        self.path = Path(self.planned.run.path)
        self.events = Events()

    def job(self) -> Any:
        """Return the job as the child opens it."""
        from bptools.training.job import open_job
        from bptools.training.stopping import Stop

        return open_job(str(self.path), self.events, Stop())  # type: ignore[arg-type]

    def work(self) -> int:
        """Do what the child does; return its exit status."""
        from bptools.training.working import work

        return work(self.job())

    def finish(self) -> Run:
        """Work to the end, however often the child asks to be started again."""
        from bptools.training import reporting
        from bptools.training.events import AGAIN
        from bptools.training.training import finish

        while (code := self.work()) == AGAIN:
            pass
        assert code == 0
        with mock.patch.object(reporting, "_plot", return_value=b""):
            finish(self.planned.run, self.planned.plan)
        self.planned.run.release()
        return self

    @property
    def losses(self) -> list[float]:
        return [line["loss"] for line in self.metrics]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        with open(self.path / "metrics.jsonl", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "manifest.json").read_bytes())
        return found
