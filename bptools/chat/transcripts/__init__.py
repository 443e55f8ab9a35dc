"""Text that holds a conversation in a chat template, back to messages.

    from bptools.chat.transcripts import read
    read("### Human: Hi### Assistant: Hello").messages

A text counts as a transcript only if it begins with the template's first marker (after bos tokens and, where
the template has one, a system prompt) and follows its grammar to the end; prose that mentions a marker stays
plain. White space that the template itself puts around a content goes, all other stays; anything else that
would get lost makes the text no transcript. Template tokens (bos, eos, end of turn) and Alpaca's two stock
openings go. A text whose newlines were written as backslash-n is read as it is or, failing that, unescaped.
"""

from __future__ import annotations

from bptools.chat.transcripts.escapes import unescape, was_escaped
from bptools.chat.transcripts.family import Transcript
from bptools.chat.transcripts.reading import parse, read, recognise

__all__ = ["Transcript", "parse", "read", "recognise", "unescape", "was_escaped"]
