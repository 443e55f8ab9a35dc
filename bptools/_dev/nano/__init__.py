"""How the model that ships with the package is made: its text, its dialogues, its examination.

python -m bptools._dev.nano.documents FILE    prose out of pinned documentation packages
python -m bptools._dev.nano.dialogues FILE    dialogues and prose out of our own grammars
python -m bptools._dev.nano FOLDER            both, mixed: pretrain, sft and heldout.jsonl
python -m bptools._dev.nano.judge MODEL       how good the trained model is
"""
