"""Run directories as bp-train leaves them, written by hand: fields as the real ones, a hundredth of the time."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import orjson

from bptools.training.run_directory import listing
from bptools.training.settings import Settings


def plan(identity: str, **settings: Any) -> dict[str, Any]:
    """Return a plan.json."""
    wanted = {"method": "sft", "rank": 16, "learning_rate": 5e-4, "epochs": 2.0, "batch_size": 16} | settings
    return {
        "id": identity,
        "settings": orjson.loads(orjson.dumps(Settings(model="/models/tiny", **wanted).as_json())),
        "small": True,
        "reasons": {"rank": "preset derived, style balanced"},
        "recipe": wanted,
        "model": {
            "kind": "folder",
            "name": "/models/tiny",
            "shown": "/models/tiny",
            "path": "/models/tiny",
            "revision": None,
            "sha256": "5e" * 32,
        },
        "result": "adapter",
        "records": 93,
        "evaluation": 7,
        "records_sha256": "ab" * 32,
        "evaluation_sha256": "cd" * 32,
        "shapes": {"chat": 100},
        "inputs": [{"name": "chat.jsonl", "bytes": 23787, "sha256": "77" * 32, "complete": True}],
        "options": {
            "epochs": {"value": 2.0, "origin": "command line"},
            "rank": {"value": None, "origin": "default"},
            "max-rejects": {"value": "3%", "origin": "environment BP_MAX_REJECTS"},
        },
        "dry_run": False,
        "show_rows": 1,
    }


def metrics(steps: int) -> bytes:
    """Return a metrics.jsonl whose loss falls."""
    lines = [
        {
            "step": step,
            "epoch": step / 6,
            "loss": 2.0 + 3.0 * math.exp(-step / 20),
            "learning_rate": 5e-4 * (1 - step / steps),
            "grad_norm": 1.5,
            "mean_token_accuracy": 0.25,
            "seconds": round(0.1 * step, 3),
        }
        for step in range(1, steps + 1)
    ]
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def events(steps: int, *evaluations: tuple[int, float]) -> bytes:
    """Return an events.jsonl."""
    found: list[dict[str, Any]] = [
        {
            "event": "preflight",
            "records": 93,
            "rows": 90,
            "tokens": 4884,
            "trained": 4413,
            "longest": 57,
            "truncated": 0,
            "split": 0,
            "too_long": 3,
            "untrained": 0,
            "untrained_at": [],
            "share": 0.9035626535626535,
            "template": "model",
            "turn_end": "<|im_end|>",
            "missing": [],
            "device": "cpu",
            "dtype": "float32",
            "evaluation": 7,
            "untrained_places": [],
            "rows_shown": [[["<|im_start|>user\nsay <i>\n", False], ["over & out<|im_end|>", True]]],
        },
        {
            "event": "start",
            "step": 0,
            "steps": steps,
            "micro_batch": 16,
            "trained": 8192,
            "parameters": 132480,
        },
        {"event": "run_start", "step": 0, "steps": steps, "epochs": 2.0},
        *({"event": "eval", "step": step, "loss": loss} for step, loss in evaluations),
    ]
    return b"".join(orjson.dumps(event) + b"\n" for event in found)


def result(steps: int, **more: Any) -> dict[str, Any]:
    """Return what a manifest says of a training."""
    return {
        "steps": steps,
        "epochs": 2.0,
        "final_loss": 2.25,
        "tokens": None,
        "stopped_early": False,
        "best_step": steps,
        "eval_loss": 2.125,
        "micro_batch": 16,
        "eval_loss_before": 5.5,
        "samples": [],
        "seconds": 72.5,
        **more,
    }


def write_run(
    runs: Path,
    identity: str,
    *,
    done: int = 12,
    steps: int = 12,
    finished: bool = True,
    time: int = 0,
    **settings: Any,
) -> Path:
    """Make a run directory `tiny-IDENTITY`; `time` is when it last wrote something."""
    folder = runs / f"tiny-{identity}"
    folder.mkdir(parents=True)
    wanted = plan(identity, **settings)
    (folder / ".lock").touch()
    (folder / "plan.json").write_bytes(orjson.dumps(wanted))
    (folder / "records.jsonl").write_bytes(b'{"messages":[]}\n')
    (folder / "events.jsonl").write_bytes(events(steps, *([(done, 2.125)] if done else [])))
    if done:
        (folder / "metrics.jsonl").write_bytes(
            metrics(steps)[: len(metrics(steps))] if done == steps else _first(steps, done)
        )
    if finished:
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        manifest = {
            "command": "bp-train",
            "version": "0.1.0",
            **wanted,
            "result": result(steps),
            "packages": {"torch": "2.13.0"},
            "path": "adapter",
            "files": listing(str(folder), ["adapter", "metrics.jsonl"]),
        }
        (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    else:
        (folder / "rows").mkdir()
        (folder / "rows" / "train.arrow").write_bytes(b"rows")
    if time:
        for path in folder.iterdir():
            os.utime(path, (time, time))
    return folder


def _first(steps: int, done: int) -> bytes:
    return b"".join(metrics(steps).splitlines(keepends=True)[:done])
