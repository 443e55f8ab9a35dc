"""The names that data sets give to their fields.

Each table lists names in the order in which they are preferred. Names are compared as written first, then
folded (lower case, words joined by underscores), so `INSTRUCTION` and `user prompt` are found too.
"""

from __future__ import annotations

from bptools.chat.roles import fold

CONVERSATION = (
    *("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat", "contents"),
    *("data", "items", "texts", "utterances", "exchanges", "chat_history", "message_list", "message"),
    *("trajectory", "rounds", "history", "thread", "dialogs", "dialogues", "chats", "context"),
)
STRING_TURNS = {"messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat", "data"}
"""Where a list of plain strings is a conversation, and not a list of texts."""
TRANSCRIPT = (
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "chat",
    "messages",
    "transcript",
    "plain_text",
)
LATE = {"history", "chat_history", "context"}
"""Of CONVERSATION: beside a last exchange these are what came before it; alone they are the conversation."""
HISTORY = ("history", "chat_history", "conversation_history", "dialog_history", "dialogue_history")

SYSTEM = (
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "systeminstruction",
    "meta_instruction",
)
TOOLS = ("tools", "functions")
MEDIA = {"images", "videos", "audios", "image", "video", "audio", "image_path", "image_url"}
REASONING = (
    *(
        "reasoning_content",
        "reasoning",
        "thinking",
        "complex_cot",
        "cot",
        "chain_of_thought",
        "rationale",
        "think",
    ),
    *("thinking_content", "reasoning_trace", "thinking_trace", "deepseek_reasoning", "thought", "thoughts"),
)
LABELS = ("kto_tag", "label")

INPUT = ("input", "context", "example_input", "passage", "inputs")
_ANSWER = (
    *(
        "output",
        "response",
        "completion",
        "solution",
        "generated_solution",
        "answer",
        "answers",
        "generation",
    ),
    *(
        "target",
        "targets",
        "outputs",
        "responses",
        "assistant",
        "chosen",
        "model_output",
        "demonstration",
        "reply",
    ),
    *(
        "expected_output",
        "generated_text",
        "deepseek_solution",
        "final_answer",
        "ground_truth",
        "correct_answer",
    ),
    "label_text",
)
_PROMPTED = ("completion", "response", "output", "answer", "generation", "chosen", *_ANSWER, "text_response")

PAIRS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("instruction", _ANSWER, "alpaca"),
    ("question", ("response", *_ANSWER), "question-answer"),
    ("prompt", _PROMPTED, "prompt-completion"),
    ("query", ("response", *_ANSWER), "question-answer"),
    ("problem", ("solution", *_ANSWER), "question-answer"),
    ("user_prompt", _PROMPTED, "prompt-completion"),
    ("instructions", _ANSWER, "alpaca"),
    ("definition", ("targets", "output", "target"), "alpaca"),
    ("input", ("output", "target", "response", "completion", "answer", *_ANSWER), "prompt-completion"),
    ("inputs", ("targets", "outputs", "output", "target", "labels"), "prompt-completion"),
    ("user", ("assistant", "bot", "gpt", "model", "ai", "system_response", "response"), "prompt-completion"),
    ("human", ("assistant", "bot", "gpt", "model", "ai", "response", "moss"), "prompt-completion"),
    ("message_1", ("message_2",), "prompt-completion"),
    ("user_message", ("assistant_message", "bot_message", "model_message", "response"), "prompt-completion"),
    (
        "user_input",
        ("assistant_output", "model_output", "output", "response", "assistant"),
        "prompt-completion",
    ),
    ("request", ("response", "completion", "answer"), "prompt-completion"),
    ("patient", ("doctor",), "prompt-completion"),
    ("article", ("summary", "highlights"), "prompt-completion"),
    ("document", ("summary",), "prompt-completion"),
    ("dialogue", ("summary",), "prompt-completion"),
    ("text", ("summary",), "prompt-completion"),
    ("content", ("summary",), "prompt-completion"),
    ("source", ("target",), "prompt-completion"),
    ("src", ("tgt",), "prompt-completion"),
    ("context", ("response", "answer", "completion"), "prompt-completion"),
    ("utterance", ("response", "reply"), "prompt-completion"),
    ("message", ("response", "reply"), "prompt-completion"),
    ("post", ("response", "reply"), "prompt-completion"),
    ("q", ("a",), "question-answer"),
    ("问题", ("回答", "答案"), "question-answer"),
)
"""(what the user says, what the assistant says, the name of the format)."""

WITH_INPUT = {"instruction", "instructions", "question", "prompt", "query", "definition", "problem"}
PROMPT_ONLY = ("instruction", "prompt", "user_prompt", "question", "query", "problem", "instructions")

TEXT = (
    *(
        "text",
        "content",
        "raw_content",
        "raw_text",
        "page_content",
        "passage",
        "document",
        "contents",
        "body",
    ),
    *("article", "story", "markdown", "paragraph", "abstract", "sentence", "code", "plain_text", "full_text"),
)

TURN_WORDS: dict[str, str] = {
    **dict.fromkeys(
        ("human", "user", "prompter", "q", "question", "query", "input", "instruction", "prompt"), "user"
    ),
    **dict.fromkeys(
        ("assistant", "bot", "gpt", "moss", "model", "ai", "a", "answer", "response"), "assistant"
    ),
    **dict.fromkeys(("output", "completion", "chatgpt"), "assistant"),
    **dict.fromkeys(("system", "system_prompt", "meta_instruction"), "system"),
}
"""Names of the fields of a turn that is keyed by who speaks: {"human": ..., "assistant": ...}."""


class Fields(dict[str, str]):
    """Folded name -> name as it stands in the record; the exact name wins over a folded one."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__()
        for key in keys:
            self.setdefault(fold(key), key)
        for key in keys:
            if key in self:
                self[key] = key

    def first(self, names: tuple[str, ...]) -> str | None:
        """Return the record's own spelling of the first of these names that it has."""
        for name in names:
            if name in self:
                return self[name]
        return None

    def all(self, names: tuple[str, ...]) -> list[str]:
        """Return the record's own spelling of all of these names that it has, in the given order."""
        return [self[name] for name in names if name in self]
