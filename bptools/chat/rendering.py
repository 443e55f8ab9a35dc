"""Records as text: ChatML, or an instruction template filled in once for each exchange."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bptools.chat.reader import RecordReader, build
from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.convert import Options

TEMPLATES = {
    "alpaca": (
        "Below is an instruction that describes a task."
        " Write a response that appropriately completes the request."
        "\n\n### Instruction:\n{instruction}\n\n### Response:\n{output}"
    )
}
_PLACE = re.compile(r"\{(system|instruction|input|output)\}")


def render(record: Record, reader: RecordReader, options: Options) -> Record:
    """Return a chat as {"text"}, a preference or rated record with text in its fields; other fields stay.

    Prompt and answer together are byte for byte the text of the whole conversation; the prompt ends where the
    assistant begins. What ChatML cannot carry goes to `bp.chatml`. Raises Reject: bad-type.
    """
    try:
        if reader.shape == "chat":
            return _chat(record, reader, options)
        return _parts(record, reader, options)
    except ValueError as error:
        raise Reject("bad-type", f"no ChatML for it: {str(error)[:120]}") from None


def _chat(record: Record, reader: RecordReader, options: Options) -> Record:
    messages, tools = record["messages"], record.get("tools")
    if options.instruct_template is not None:
        text = fill(options.instruct_template, messages, tools, options.eos)
        return build({"text": text}, record, {"messages", "tools"})
    from bptools.chat import chatml

    if chatml.has_markup(messages, tools if type(tools) is list else None):
        reader.note(("markup",))
    if tools is not None and type(tools) is not list:
        tools = None
        used = {"messages"}
    else:
        used = {"messages", "tools"}
    text, sidecar = chatml.render(messages, tools, _escape(options))
    return _with_sidecar(build({"text": text + options.eos}, record, used), sidecar)


def _escape(options: Options) -> str:
    return "keep" if options.on_markup == "keep" else "escape"


def _parts(record: Record, reader: RecordReader, options: Options) -> Record:
    answers = ("chosen", "rejected") if reader.shape == "preference" else ("completion",)
    prompt, tools = record["prompt"], record.get("tools")
    tools = tools if type(tools) is list else None
    if options.instruct_template is not None:
        return _filled_parts(record, prompt, answers, tools, options)
    from bptools.chat import chatml

    markup = _escape(options)
    sidecars: Record = {}
    out: Record = {}
    begins = all(record[name] and record[name][0]["role"] == "assistant" for name in answers)
    whole = chatml.render_prompt if begins else chatml.render
    out["prompt"], sidecars["prompt"] = whole(prompt, tools, markup)
    for name in answers:
        answer = (
            chatml.render_completion(record[name], markup)
            if begins
            else chatml.render(record[name], None, markup)
        )
        out[name], sidecars[name] = answer
        out[name] += options.eos
    if chatml.has_markup(prompt, tools) or any(chatml.has_markup(record[name]) for name in answers):
        reader.note(("markup",))
    used = {"prompt", *answers} | ({"tools"} if tools is not None else set())
    kept = {name: sidecar for name, sidecar in sidecars.items() if sidecar is not None}
    if "label" in record and "completion" in out:
        out["label"] = record["label"]
        used.add("label")
    return _with_sidecar(build(out, record, used), kept or None)


def _with_sidecar(record: Record, sidecar: Record | None) -> Record:
    if sidecar is None:
        return record
    bp = record.get("bp")
    return {**record, "bp": {**bp, "chatml": sidecar} if type(bp) is dict else {"chatml": sidecar}}


def fill(template: str, messages: list[Record], tools: object = None, eos: str = "") -> str:
    """Return a template filled in for each exchange, one after the other.

    `template` is a name of TEMPLATES or a text with {system}, {instruction}, {input} and {output}. The system
    prompt stands in the first exchange, at {system} or before all; {input} is empty, for an input has become
    part of the instruction. Raises Reject: no-template (tools, tool calls).
    """
    return "".join(one + eos for one in _exchanges(template, messages, tools))


def _exchanges(template: str, messages: list[Record], tools: object) -> list[str]:
    text = TEMPLATES.get(template, template)
    if tools or any(message["role"] == "tool" or message.get("tool_calls") for message in messages):
        raise Reject("no-template", "an instruction template has no place for tools; ChatML has")
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    from bptools.chat.reasoning import inline

    out = []
    asked: list[str] = []
    said = [message for message in messages if message["role"] != "system"]
    for number, message in enumerate(said):
        if message["role"] == "user":
            asked.append(message["content"])
            if number + 1 < len(said):
                continue
            answer = ""
        else:
            answer = inline(message)["content"]
        values = {"system": system, "instruction": "\n\n".join(asked), "input": "", "output": answer}
        filled = _PLACE.sub(lambda match: values[match[1]], text)  # noqa: B023
        if system and "{system}" not in text:
            filled = f"{system}\n\n{filled}"
        out.append(filled)
        system, asked = "", []
    return out


def _filled_parts(
    record: Record, prompt: list[Record], answers: tuple[str, ...], tools: object, options: Options
) -> Record:
    from bptools.chat.reasoning import inline

    template = options.instruct_template or ""
    out: Record = {}
    empty = [{"role": "assistant", "content": ""}]
    _, place, after = TEMPLATES.get(template, template).rpartition("{output}")
    if not place or _PLACE.search(after):
        raise Reject("no-template", "the template does not end with its {output}, so it cannot be cut there")
    *before, last = _exchanges(template, prompt + empty, tools) if prompt else [""]
    out["prompt"] = "".join(one + options.eos for one in before) + last.removesuffix(after)
    for name in answers:
        texts = [inline(message)["content"] for message in record[name]]
        if len(texts) != 1 or record[name][0].get("tool_calls"):
            raise Reject(
                "no-template", f"{name} is more than one answer; an instruction template cannot be cut there"
            )
        out[name] = texts[0] + after + options.eos
    if "label" in record and "completion" in out:
        out["label"] = record["label"]
    return build(out, record, {"prompt", *answers, "label"} if "label" in out else {"prompt", *answers})
