"""What is refused: before a record is read, without harm to an earlier run, and with nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bptools.commands.train import app
from bptools.core import cli
from bptools.core.errors import (
    BpError,
    Exit,
    InputError,
    OutputError,
    ReadWriteError,
    Unavailable,
    UsageError,
)
from bptools.training import earlier, plan, preflight, training
from bptools.training.checking import check_settings, names_of_transformers
from bptools.training.launching import ChildError
from bptools.training.run_directory import RunDirectory
from bptools.training.settings import Settings
from tests.tiny import shared_model
from tests.training_runs import Run, write_records

pytest.importorskip("trl")
SETTINGS: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-2, "eval_split": "0", "max_length": 128}
Called = Callable[..., "tuple[int, str]"]


@pytest.fixture
def chats(tmp_path: Path) -> str:
    return write_records(tmp_path / "chats.jsonl", "chat", 24)


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Called:
    """bp-train in this process, up to where the child would be started, which fails."""
    monkeypatch.chdir(tmp_path)

    def launch(run: RunDirectory, on_event: Any) -> None:
        raise ChildError("no cuda device on this machine", Exit.UNAVAILABLE)

    monkeypatch.setattr(training, "launch", launch)

    def call(*options: str) -> tuple[int, str]:
        capfd.readouterr()
        code = cli.call(app, "bp-train", list(options))
        said = capfd.readouterr()
        assert said.out == ""
        return code, said.err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--device", "cdua"], 2, "--device is auto, cpu, cuda, cuda:N or mps, not 'cdua'; did you mean 'cuda'?"),
        (["--device", "cuda:x"], 2, "not 'cuda:x'"),
        (["--dtype", "bfloat"], 2, "did you mean 'bfloat16'?"),
        (["--dtype", "float16", "--device", "cpu"], 2, "overflows on a CPU"),
        (["--schedule", "cosin"], 2, "transformers has no 'cosin'; did you mean 'cosine'?"),
        (["--schedule", "cosin", "--dry-run"], 2, "did you mean 'cosine'?"),
        (["--full", "--rank", "4"], 2, "--rank is of an adapter, --full trains none; leave one out"),
        (["--full", "--modules-to-save", "lm_head"], 2, "--modules-to-save is of an adapter, --full trains none"),
        (["--method", "pretrain", "--dora"], 2, "--dora is of an adapter, --method pretrain trains none"),
        (["--early-stopping", "2", "--eval-every", "never"], 2, "--eval-every never takes none; leave one out"),
        (["--method", "sft", "--beta", "0.3"], 2, "--beta is for dpo, orpo and kto, not for sft"),
        (["--schedule", "warmup_stable_decay"], 2, "needs arguments"),
        (["--optimizer", "adamw_trch"], 2, "transformers has no 'adamw_trch'; did you mean 'adamw_torch'?"),
        (["--optimizer", "!"], 2, "it has adamw_torch, "),
        (["--chat-template", "chatlm"], 66, "no chat template 'chatlm'"),
        (["--chat-template", "from:nowhere"], 66, "no model 'nowhere'"),
        (["--tokenizer", "nowhere"], 66, "--tokenizer 'nowhere': there is no such folder"),
        (["--tokenizer", "."], 66, "--tokenizer '.' is none"),
        (["--adapter", "nowhere"], 66, "'nowhere' is no adapter"),
        (["--ref-model", "nowhere", "--method", "dpo"], 66, "no model 'nowhere'"),
        (["--ref-model", "nano", "--method", "sft"], 2, "--ref-model is for dpo and kto"),
        (["--targets", "q_(proj"], 2, "is no regular expression"),
        (["--eval-split", "95%"], 2, "--eval-split"),
        (["--alpha", "0"], 2, "--alpha"),
        (["--targets", "x{99999999999}"], 2, "is no regular expression"),
        (["--seed", "4294967296"], 2, "--seed"),
        (["--method", "pretrain", "--model", "qwen0.5b"], 2, "begins with random weights"),
        (["--quant", "nf4", "--full"], 2, "--quant nf4 holds frozen weights, --full has none"),
        (["--quant", "int8", "--method", "pretrain"], 2, "--method pretrain has none"),
        (["--model-config", "/nosuch", "--method", "pretrain"], 66, "cannot open '/nosuch': no such file"),
        (["--name", "../x"], 2, "--name '../x' is no name in --runs"),
        (["--name", ""], 2, "--name '' is no name"),
        (["--name", ".."], 2, "is no name"),
        (["--name", "latest"], 2, "is no name"),
    ],
)  # fmt: skip
def test_options_are_judged_before_a_record_is_read(
    called: Called, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    model = [] if "pretrain" in options else ["--model", shared_model()]
    done, err = called(*model, *options, "not-there.jsonl")
    assert (done, said in err) == (code, True), err
    assert "not-there" not in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("platform", "nodes", "refused"),
    [
        ("linux", [], ["cuda", "cuda:1", "mps"]),
        ("linux", ["/dev/nvidiactl"], ["mps"]),
        ("linux", ["/dev/dxg"], ["mps"]),
        ("darwin", [], ["cuda", "cuda:1"]),
        ("win32", [], ["mps"]),
    ],
)
def test_a_device_that_the_system_cannot_have_is_told_at_once(
    platform: str, nodes: list[str], refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bptools.training import preflight

    monkeypatch.setattr(preflight.sys, "platform", platform)
    monkeypatch.setattr(preflight.os.path, "exists", nodes.__contains__)
    monkeypatch.setattr(preflight.memory, "available", lambda kind: 0)
    for device in ("auto", "cpu", "cuda", "cuda:1", "mps"):
        if device in refused:
            with pytest.raises(Unavailable, match=r"no (cuda|mps) device on this machine; --device auto"):
                preflight.check_device(Settings(device=device))
        else:
            preflight.check_device(Settings(device=device))


def test_what_only_the_records_tell(called: Called, tmp_path: Path, chats: str) -> None:
    """The method, and what fits it, and what is left behind then: nothing."""
    code, err = called("--model", shared_model(), "--beta", "0.3", chats)
    assert (code, "--beta is for dpo, orpo and kto, not for sft" in err) == (2, True), err
    (tmp_path / "empty.jsonl").touch()
    code, err = called("--model", shared_model(), "--runs", "a/b/runs", "empty.jsonl")
    assert (code, "no record" in err) == (65, True), err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("file", "options", "unused"),
    [
        ("stage: sft\npref_beta: 0.2\nfinetuning_type: lora", [], "beta of c.yaml (pref_beta)"),
        ("beta: 0.2", [], "beta of c.yaml"),  # sft, as the records decide
        ("lora_r: 8\nlora_alpha: 16", ["--full"], "rank of c.yaml (lora_r), alpha of c.yaml (lora_alpha)"),
        ("rank: 8", ["--method", "pretrain"], "rank of c.yaml"),
        ("finetuning_type: full\nlora_rank: 8", [], "rank of c.yaml (lora_rank)"),
        ("early_stopping: 3\neval_every: never", [], "early-stopping of c.yaml"),
    ],
)
def test_what_a_file_says_for_other_phases_is_left_out(
    called: Called, tmp_path: Path, file: str, options: list[str], unused: str, chats: str
) -> None:
    (tmp_path / "c.yaml").write_text(file)
    model = [] if "pretrain" in options else ["--model", shared_model()]
    source = write_records(tmp_path / "text.jsonl", "text", 9) if "pretrain" in options else chats
    code, err = called(*model, *options, "-c", "c.yaml", source)
    assert (code, "no cuda device" in err) == (69, True), err  # as far as the training
    assert f"not used: {unused}\n" in err


def test_a_variable_says_it_for_all_lines_too(
    called: Called, chats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BP_RANK", "8")
    code, err = called("--model", shared_model(), "--full", chats)
    assert (code, "not used: rank of BP_RANK\n" in err) == (69, True), err


def test_python_is_typed(chats: str) -> None:
    result = training.train(chats, model=shared_model(), full=True, rank=8)
    assert not result.success and "--rank is of an adapter" in result.error


def test_folders_that_were_made_for_a_run_that_made_no_step_go_with_it(
    called: Called, tmp_path: Path, chats: str
) -> None:
    (tmp_path / "mine").mkdir()
    code, _ = called("--model", shared_model(), "-o", "mine/a/b/run", chats)
    assert code == 69
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_environment_is_judged_too(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BP_OPTIMIZER", "foo")
    code, err = called("--model", shared_model(), "--dry-run", "not-there.jsonl")
    assert (code, "has no 'foo'" in err) == (2, True)


def test_names_are_those_of_the_transformers_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    from bptools.training import checking

    assert names_of_transformers("SchedulerType") == [entry.value for entry in SchedulerType]
    assert names_of_transformers("OptimizerNames") == [entry.value for entry in OptimizerNames]
    for entry in OptimizerNames:
        check_settings(Settings(optimizer=entry.value))
    monkeypatch.setattr(checking, "names_of_transformers", lambda _: [])
    check_settings(Settings(schedule="of a version that writes them otherwise"))


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_model_with_a_broken_config_is_66(called: Called, tmp_path: Path, text: str, chats: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(text, encoding="latin-1")
    code, err = called("--model", "model", chats)
    assert (code, "config.json of 'model'" in err) == (66, True), err


def test_a_package_that_quant_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_installed", lambda name: name != "bitsandbytes")
    with pytest.raises(BpError, match=r"bitsandbytes is not installed; .*pip install 'bptools\[bnb\]'"):
        preflight.check_packages(Settings(quant="nf4"))
    preflight.check_packages(Settings())


# what fails before the first step


def test_what_fails_before_the_first_step_leaves_nothing(called: Called, tmp_path: Path, chats: str) -> None:
    (tmp_path / "made").mkdir()
    for place in (["-o", "bot"], ["--name", "bot"], ["-o", "made"], []):
        code, err = called("--model", shared_model(), chats, *place)
        assert (code, err.split("\n")[-2]) == (69, "bp-train: no cuda device on this machine")
    assert sorted(os.listdir(tmp_path)) == ["chats.jsonl", "made"]
    assert os.listdir(tmp_path / "made") in ([], [".lock"])


def test_of_a_bug_the_log_stays_and_is_in_nobodys_way(
    called: Called, tmp_path: Path, chats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(run: RunDirectory, on_event: Any) -> None:
        Path(run.file("worker.log")).write_text("Traceback\n")
        raise ChildError("ValueError: no", Exit.SOFTWARE)

    monkeypatch.setattr(training, "launch", launch)
    for _ in range(2):
        assert called("--model", shared_model(), chats, "-o", "bot")[0] == 70
        assert sorted(os.listdir(tmp_path / "bot")) == [".lock", "worker.log"]


def test_an_unfinished_run_that_was_there_stays(called: Called, tmp_path: Path, chats: str) -> None:
    run = Run(chats, tmp_path, name="bot", model=shared_model(), **SETTINGS)
    run.planned.run.release()
    checkpoint = run.path / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(b"hours")
    again = Run(chats, tmp_path, name="bot", model=shared_model(), **SETTINGS)
    with pytest.raises(ChildError):
        training.carry_out(again.planned, lambda event: None)
    assert (checkpoint / "optimizer.pt").read_bytes() == b"hours"
    assert (run.path / "plan.json").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run `bot` of chats.jsonl."""
    folder = tmp_path_factory.mktemp("finished")
    source = write_records(folder / "chats.jsonl", "chat", 24)
    Run(source, folder, name="bot", model=shared_model(), steps=1, **SETTINGS).finish()
    return folder


def again(folder: Path, **settings: Any) -> Run:
    wanted = {"steps": 1, "model": shared_model(), **SETTINGS, **settings}
    return Run(str(folder / "chats.jsonl"), folder, name="bot", **wanted)


def test_fresh_keeps_a_finished_run_until_the_new_one_has_made_a_step(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "all")
    before = contents(tmp_path / "all" / "bot")
    seen: list[str] = []

    def launch(run: RunDirectory, on_event: Any) -> None:
        seen.append("adapter" if os.path.exists(run.file("adapter")) else "none")
        raise failure

    monkeypatch.setattr(training, "launch", launch)
    for failure in (ChildError("no cuda device", 69), ChildError("a bug", 70), KeyboardInterrupt()):
        run = again(tmp_path / "all", fresh=True, seed=7)
        with pytest.raises(type(failure)):
            training.carry_out(run.planned, lambda event: None)
        assert contents(tmp_path / "all" / "bot") == {**before, "worker.log": b""} or (
            contents(tmp_path / "all" / "bot") == before
        )
        assert again(tmp_path / "all").planned.finished
    assert seen == ["none"] * 3

    def makes_a_step(run: RunDirectory, on_event: Any) -> None:
        on_event({"event": "step", "step": 1})
        raise ChildError("later", 74)

    monkeypatch.setattr(training, "launch", makes_a_step)
    run = again(tmp_path / "all", fresh=True, seed=7)
    with pytest.raises(ChildError):
        training.carry_out(run.planned, lambda event: None)
    assert not (run.path / ".earlier").exists()
    assert not (run.path / "adapter").exists()
    assert RunDirectory(str(run.path)).read("plan.json") == run.planned.run.read("plan.json")
    assert run.planned.plan["settings"]["seed"] == 7


@pytest.mark.parametrize("back", [False, True])
def test_kill_9_at_any_moment_of_setting_a_run_aside(finished: Path, tmp_path: Path, back: bool,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    class Killed(BaseException):
        pass

    moves = 0
    while True:
        folder = tmp_path / str(moves)
        shutil.copytree(finished / "bot", folder)
        before = contents(folder)
        run, left, real = RunDirectory(str(folder)), moves, os.replace
        if back:
            earlier.set_aside(run)
            (folder / "records.jsonl").write_text("of the new run\n")
            run.write("plan.json", {"id": "new"})

        def replace(source: str, target: str, real: Any = real) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            real(source, target)

        killed = False
        with monkeypatch.context() as patch:
            patch.setattr(earlier.os, "replace", replace)
            try:
                if back:
                    earlier.recover(run)
                else:
                    earlier.set_aside(run)
            except Killed:
                killed = True
        assert not run.foreign()
        assert earlier.recover(run) or back
        assert contents(folder) == before
        if not killed:
            break
        moves += 1
    assert moves > 5


@pytest.mark.parametrize(("name", "foreign"), [("0123456789ab", False), ("notes", True), ("", False)])
def test_what_waits_to_be_removed_is_known_by_its_name(tmp_path: Path, name: str, foreign: bool) -> None:
    (tmp_path / ".gone" / name).mkdir(parents=True)
    assert RunDirectory(str(tmp_path)).foreign() is foreign
    (tmp_path / ".incoming-12-0123ab").mkdir()
    assert RunDirectory(str(tmp_path)).foreign() is foreign


# finished, and changed since


def test_the_model_card_is_not_the_model(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "all")
    (tmp_path / "all" / "bot" / "adapter" / "README.md").write_text("# Mine, and better than ever\n")
    run = again(tmp_path / "all")
    assert run.planned.finished
    assert run.planned.run.finished()
    run.planned.run.release()


def test_a_result_that_was_changed_is_not_trained_again_unasked(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "all")
    weights = tmp_path / "all" / "bot" / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    said = "bot' was finished, but adapter/adapter_model.safetensors {}; --fresh trains again"
    with pytest.raises(OutputError, match=said.format("was changed since")):
        again(tmp_path / "all")
    weights.unlink()
    with pytest.raises(OutputError, match=said.format("is missing")):
        again(tmp_path / "all")
    manifest = tmp_path / "all" / "bot" / "manifest.json"
    kept = manifest.read_bytes()
    for broken in (b"{", b"{}", kept.replace(b'"bytes"', b'"bites"')):
        manifest.write_bytes(broken)
        with pytest.raises(OutputError, match=r"manifest\.json cannot be read"):
            again(tmp_path / "all")
    run = again(tmp_path / "all", fresh=True)
    assert not run.planned.finished
    run.planned.run.release()


def test_the_result_is_on_the_disk_before_the_manifest(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the manifest before the checkpoints are removed."""
    shutil.copytree(finished, tmp_path / "all")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    remove = RunDirectory.remove_workspace

    def remove_workspace(run: RunDirectory) -> None:
        synced.append("workspace")
        remove(run)

    run = again(tmp_path / "all", fresh=True)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(RunDirectory, "remove_workspace", remove_workspace)
    run.finish()
    last, path = synced.index("workspace"), str(run.path)
    assert path in synced[last - 3 : last]
    for name in run.manifest["files"]:
        written = os.path.join(path, name.replace("adapter/", "adapter.part/"))
        assert written in synced[:last], name
    assert os.path.join(path, "adapter.part") in synced


def test_the_manifest_has_the_counts_of_what_was_read(tmp_path: Path) -> None:
    source = write_records(tmp_path / "chats.jsonl", "chat", 8)
    other = write_records(tmp_path / "other.jsonl", "chat", 3, seed=2)
    run = Run(source, tmp_path, evaluation=other, model=shared_model(), **SETTINGS)
    run.planned.run.release()
    counts = run.planned.plan["counts"]
    assert [counts[name] for name in ("in", "out", "dropped", "rejected")] == [8, 8, 0, 0]
    assert run.planned.plan["evaluation_counts"]["in"] == 3
    assert "command" not in counts


# messages


def test_messages_name_what_the_user_named(tmp_path: Path, chats: str, called: Called) -> None:
    code, err = called("--model", shared_model(), chats, "-o", "chats.jsonl/x/y")
    assert (code, "cannot create 'chats.jsonl/x/y': not a directory" in err) == (73, True), err


def test_a_full_disk_is_that_of_the_user(
    tmp_path: Path, chats: str, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise ReadWriteError(f"cannot write '{given[4]}/records.jsonl': no space left on device")

    monkeypatch.setattr(plan, "_spool", full)
    said = (
        "bp-train: cannot write the records to '{}': no space left on device; {} DIR puts the run elsewhere\n"
    )
    assert called("--model", shared_model(), chats, "-o", "bot") == (74, said.format("bot", "-o"))
    assert called("--model", shared_model(), chats) == (74, said.format("runs", "--runs"))
    assert called("--model", shared_model(), chats, "--name", "x") == (
        74,
        said.format(os.path.join("runs", "x"), "--runs"),
    )
    monkeypatch.undo()
    monkeypatch.setattr(preflight.memory, "free_disk", lambda path: 10)
    with pytest.raises(ReadWriteError, match=f"are free in '{tmp_path}'; --runs DIR puts it elsewhere"):
        Run(chats, tmp_path, model=shared_model(), **SETTINGS)


def test_an_error_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    import errno

    from bptools.training.worker import _failed
    from tests.training_runs import Events

    for named, said in ((None, "no space left on device"), ("x", "no space left on device: 'x'")):
        events = Events()
        assert _failed(OSError(errno.ENOSPC, "No space left on device", named), events) == 74  # type: ignore[arg-type]
        assert events[0]["message"] == said


def test_one_is_no_several() -> None:
    from bptools.training.telling import counted

    assert [counted(number, "epoch") for number in (1, 1.0, 0.5, 2, 2.0)] == [
        "1 epoch", "1 epoch", "0.5 epochs", "2 epochs", "2 epochs",
    ]  # fmt: skip


def test_python_is_told_the_same(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--alpha 0 would switch the adapter off"):
        check_settings(Settings(alpha=0))
    with pytest.raises(InputError, match="is no adapter"):
        check_settings(Settings(adapter=str(tmp_path)))
