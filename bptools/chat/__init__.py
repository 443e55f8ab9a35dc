"""What a record is: formats, detection, conversion, ChatML.

    from bptools.chat import convert, detect

    detect({"conversations": [{"from": "human", "value": "Hi"}]}).format        # 'sharegpt'
    convert({"instruction": "Add.", "input": "1, 2", "output": "3", "id": 7})
    # {'messages': [{'role': 'user', 'content': 'Add.\\n\\n1, 2'},
    #               {'role': 'assistant', 'content': '3'}], 'id': 7}

`Converter(Options(...))` does the same for many records, `Detector` for many to be named.
"""

from bptools.chat.bare import as_conversation
from bptools.chat.convert import Converter, Options, convert
from bptools.chat.detect import Detection, Detector, detect
from bptools.chat.formats import FORMATS

__all__ = ["FORMATS", "Converter", "Detection", "Detector", "Options", "as_conversation", "convert", "detect"]
