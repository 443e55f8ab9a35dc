# Training records without what evaluation sets ask; what was taken out says which question it copies.
#
#   make -s -f decontaminate.mk
#   make -s -f decontaminate.mk ON=user     other answers to the same questions go as well
#
# It says nothing unless something fails. What a step said is in TARGET.log.
#
#   raw/                yours: what is to be trained on, in any format that bp-chatml(1) reads
#   eval/               yours: the evaluation sets, also in any format
#   clean.jsonl         what may be trained on; rejects.jsonl the lines that are no records
#   dropped.jsonl       all that was taken out, copies within raw/ as well
#   contaminated.jsonl  what copies a record of eval/: bp.dup_at is its file and line, bp.jaccard how like it is
#   report.json         the counts; under duplicates.of.against how many

RAW         ?= raw
EVAL        ?= eval
# Lines that are no records are kept in rejects.jsonl; with more of them than this, nothing is made.
MAX_REJECTS ?= 1%
# What is compared: all of a record, or user for its questions alone.
ON          ?= all
# From which similarity on, of runs of so many words: less finds more, and more that is none.
THRESHOLD   ?= 0.7
NGRAM       ?= 5

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

.PHONY: all FORCE
all: contaminated.jsonl

FILES := $(call found,$(RAW))
ASKED := $(call found,$(EVAL))
# Options are inputs, too: files that are written anew only when the options change.
clean_WITH := $(RAW) $(EVAL) $(FILES) $(ASKED) $(call odd,$(RAW) $(EVAL)) $(MAX_REJECTS) $(ON) $(THRESHOLD) $(NGRAM)
ifneq ($(file <.clean.options),$(clean_WITH))
.clean.options: FORCE
endif
.%.options:
	@$(if $(LOOKING),,$(file >$@,$($*_WITH)))

# Copies within raw/ are dropped, too: they are in dropped.jsonl, without bp.dup_in. Evaluation sets without a record
# would find everything clean; what is broken in them is for bp-dedup to refuse.
clean.jsonl: $(FILES) $(ASKED) .clean.options
	@$(call need,$(FILES),$(call odd,$(RAW)),records into $(RAW)/)\
	$(call need,$(ASKED),$(call odd,$(EVAL)),evaluation sets into $(EVAL)/)$(begin); \
	! asked=$$(BP_LEDGER= bp-chatml $(EVAL) 2> /dev/null | head -c 1) || [ -n "$$asked" ] || { \
	  echo 'decontaminate: there is no record in $(EVAL)/, so nothing can be compared' >&2; exit 65; }; \
	bp-chatml $(RAW) --max-rejects $(MAX_REJECTS) --rejects rejects.jsonl \
	  | bp-dedup --minhash --on $(ON) --threshold $(THRESHOLD) --ngram $(NGRAM) --against $(EVAL) \
	      --dropped dropped.jsonl --report report.json > "$$part"; \
	[ -s "$$part" ] || [ -s dropped.jsonl ] || { \
	  echo 'decontaminate: there is no record in $(RAW)/; see also rejects.jsonl' >&2; exit 65; }; \
	$(end)

contaminated.jsonl: clean.jsonl
	@$(begin); \
	bp-filter --where bp.dup_in=against dropped.jsonl > "$$part"; \
	$(end)
