# One topic after the other: SFT on each, and DPO only where the answers fall short of the goal.
#
#   make -s -f curriculum.mk
#   make -s -f curriculum.mk TOPICS='letters words sentences' GOAL=.8 PRESET=qwen1.5b
#
# Every topic goes on with the adapter of the one before. Where too few of the records that were held out are answered
# rightly, the model's own wrong answers to what it was trained on become the rejected ones, and DPO follows. It says
# nothing unless something fails, and a run that was killed is gone on with by the same line. Needs jq.
#
#   raw/           yours: chats in any format that bp-chatml(1) reads, with a field that names the topic
#   topics/        the chats of each topic; without TOPICS they are taken in the order of their names
#   course/        for each topic: T.sft and T.bot, paths of adapters, and T.score.json of the last one
#   scores.tsv     topic, right answers, answers, sft or dpo
#   runs/          the trainings; the file bot holds the path of the last adapter

PRESET      ?= nano
RAW         ?= raw
# What names the topic; chats without it are a topic of their own, _missing.
FIELD       ?= topic
# Lines that are no records are kept in rejects.jsonl; with more of them than this, nothing is made.
MAX_REJECTS ?= 1%
# The share of answers that must match, and how they are compared.
GOAL        ?= .7
SCORE       ?= contains
# How much of a topic is held out: a share, or with 50 about a tenth until there are so many. A hash of each
# record draws it, with all its copies.
HOLD_OUT    ?= 50
# How many records of a topic are answered to find wrong answers.
ASK         ?= 500
# More options of bp-train for either phase.
SFT         ?=
DPO         ?= --beta 0.1

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
export BP_QUIET  := 1
export BP_LEDGER := .ledger

# What a step says is kept in a log and shown only if it fails. A target is written beside its place, and moved there
# when the whole pipe has succeeded: make removes what a failed step left, but not what a make left that was killed
# itself. Of two makes at once the second waits for each step of the first, where there is flock: what lies beside
# the place then is nobody's. Where there is none the number of the shell keeps their files apart, which is weaker: a
# number is given again, and where nobody buries the killed, as in many containers, it stays taken.
begin = exec 9>> $@.log; flock 9 2> /dev/null && rm -f $@.[0-9]*.part || :; \
        for old in $@.*.part; do pid=$${old%.part}; kill -0 "$${pid\#\#*.}" 2> /dev/null || rm -f "$$old"; done; \
        part=$@.$$$$.part; exec 3>&2 2> $@.log; \
        trap 'code=$$?; rm -f "$$part"; [ $$code = 0 ] || $(shown) >&3' EXIT
end   = mv "$$part" $@
# The option of bp-chatml that would help is a variable here.
shown = LC_ALL=C sed -E "/^bp-chatml: /s/--max-rejects ([0-9]+)/&, here MAX_REJECTS=\1,/" $@.log

# make -n, -q and -t only look, but what make itself does while it reads this file or puts a command together, it does
# even then: where LOOKING is not empty, nothing is written and nothing is refused.
LOOKING := $(strip $(foreach letter,n q t,$(findstring $(letter),$(firstword -$(MAKEFLAGS)))))

# $(call found,DIRS) are the files to read, $(call odd,DIRS) the first whose name make would take for something else;
# colons it takes with a backslash. $(call need,FILES,ODD,WHAT) stops where there is nothing, or such a name.
ODD   := *[[:space:];|\\(]*
found  = $(shell find -L $(1) -type f ! -name '.*' ! -path '$(ODD)' 2> /dev/null | LC_ALL=C sort | sed 's/:/\\:/g')
odd    = $(shell find -L $(1) -type f ! -name '.*' -path '$(ODD)' 2> /dev/null | LC_ALL=C sort | head -n 1)
need   = $(if $(LOOKING),,$(if $(2),$(error rename '$(2)': make takes no blank, ;, |, \ or bracket in a name))\
         $(if $(1),,$(error put $(3) first)))

# The topics are known when the records are split: a second make goes on from there.
.PHONY: all course FORCE
THIS := $(lastword $(MAKEFILE_LIST))
all: topics/.split
	@$(MAKE) --no-print-directory -f $(THIS) course

FILES := $(call found,$(RAW))
# Options are inputs, too: files that are written anew only when the options change.
topics_WITH := $(RAW) $(FILES) $(call odd,$(RAW)) $(MAX_REJECTS) $(FIELD)
sft_WITH := $(PRESET) $(HOLD_OUT) $(SFT)
dpo_WITH := $(GOAL) $(SCORE) $(ASK) $(DPO)
ifneq ($(file <.topics.options),$(topics_WITH))
.topics.options: FORCE
endif
ifneq ($(file <.sft.options),$(sft_WITH))
.sft.options: FORCE
endif
ifneq ($(file <.dpo.options),$(dpo_WITH))
.dpo.options: FORCE
endif
.%.options:
	@$(if $(LOOKING),,$(file >$@,$($*_WITH)))

# A topic becomes part of the names of files, and of commands.
ODD_TOPIC := *[][:space:]%\#$$;|&\\()<>"`*?'\'']*

# A file of a topic is replaced only when it changed, so that the others need not be learnt again. A field that no
# record has is misspelt: it would make one topic of all.
topics/.split: $(FILES) .topics.options
	@$(call need,$(FILES),$(call odd,$(RAW)),chats into $(RAW)/)mkdir -p topics course; $(begin); \
	( trap 'rm -rf .topics' EXIT; rm -rf .topics; \
	bp-chatml $(RAW) --to chat --max-rejects $(MAX_REJECTS) --rejects rejects.jsonl | bp-dedup \
	  | bp-filter --split-by $(FIELD) --out-dir .topics; \
	set -- .topics/*.jsonl; \
	[ -e "$$1" ] || { echo 'curriculum: there is no chat in $(RAW)/; see also rejects.jsonl' >&2; exit 65; }; \
	[ "$$*" != .topics/_missing.jsonl ] || { \
	  echo "curriculum: no record has the field '$(FIELD)'; set FIELD" >&2; exit 65; }; \
	odd=$$(find .topics -name '$(ODD_TOPIC)' | LC_ALL=C sort | head -n 1); \
	[ -z "$$odd" ] || [ '$(origin TOPICS)' != file ] || { \
	  echo "curriculum: no file can be named after '$${odd#.topics/}'; rename the topic, or name TOPICS" >&2; exit 65; }; \
	for old in topics/*.jsonl; do [ -e ".$$old" ] || rm -f "$$old"; done; \
	for new in .topics/*.jsonl; do cmp -s "$$new" "$${new#.}" || mv "$$new" "$${new#.}"; done ); \
	touch "$$part"; \
	$(end)

TOPICS      ?= $(basename $(notdir $(sort $(wildcard topics/*.jsonl))))
SFTS   := $(TOPICS:%=course/%.sft)
BOTS   := $(TOPICS:%=course/%.bot)

# A run that was pruned is made again.
$(foreach made,$(SFTS) $(BOTS),$(if $(wildcard $(file <$(made))),,$(eval $(made): FORCE)))

# BEFORE is the file with the path of the adapter that a topic goes on with: none for the first.
before :=
$(foreach topic,$(TOPICS),\
  $(eval course/$(topic).sft: $(before))\
  $(eval course/$(topic).sft: private BEFORE := $(before))\
  $(eval before := course/$(topic).bot))

course: bot scores.tsv

$(SFTS): course/%.sft: topics/%.jsonl .sft.options
	@$(begin); \
	bp-train $< --preset $(PRESET) --method sft $(if $(BEFORE),--adapter "$$(cat $(BEFORE))") --eval-split $(HOLD_OUT) \
	  $(SFT) --wait 1h > "$$part"; \
	$(end)

# A run keeps what it learnt from in records.jsonl and what it held out in eval.jsonl. --check ends with 1 when too few
# answers match; every other status is a failure.
score = bp-generate --adapter "$$adapter" --score $(SCORE) --check 'match>=$(GOAL)' \
          --report course/$*.score.json "$$run/eval.jsonl" > /dev/null

pairs = select(.bp.match == false) | {prompt: .messages[:-1], rejected: [.messages[-1]], \
          chosen: [{role: "assistant", content: .reference}]}

$(BOTS): course/%.bot: course/%.sft .dpo.options
	@$(begin); adapter=$$(cat $<); run=$${adapter%/*}; pairs=course/$*.pairs.jsonl; \
	[ -s "$$run/eval.jsonl" ] || { echo "curriculum: nothing of '$*' was held out; raise HOLD_OUT" >&2; exit 65; }; \
	reached=0; $(score) || reached=$$?; [ $$reached -le 1 ]; \
	if [ $$reached = 1 ]; then \
	  jq -nc 'limit($(ASK); inputs) | .reference = .messages[-1].content' "$$run/records.jsonl" \
	  | bp-generate --adapter "$$adapter" --score $(SCORE) \
	  | jq -c '$(pairs)' > "$$part"; \
	  mv "$$part" $$pairs; \
	  if [ -s $$pairs ]; then \
	    adapter=$$(bp-train $$pairs --preset $(PRESET) --method dpo --adapter "$$adapter" --eval-split 0 $(DPO) \
	      --wait 1h); \
	    $(score) || [ $$? = 1 ]; \
	  fi; \
	fi; \
	echo "$$adapter" > "$$part"; \
	$(end)

bot: $(BOTS)
	@cp $(lastword $(BOTS)) $@.$$$$.part; mv $@.$$$$.part $@

scores.tsv: $(BOTS)
	@$(begin); \
	for topic in $(TOPICS); do \
	  how=sft; cmp -s course/$$topic.sft course/$$topic.bot || how=dpo; \
	  jq -r --arg topic $$topic --arg how $$how '[$$topic, .match[][], $$how] | @tsv' course/$$topic.score.json; \
	done > "$$part"; \
	$(end)
