# surat: one Makefile, no configure step.
#
#   make          builds everything under build/
#   make run      installs what is missing, builds, runs a demo on loopback
#   make check    installs what is missing, builds, runs every test
#   make san      the same tests under AddressSanitizer and UBSan
#   make fuzz     libFuzzer binaries (clang) under build/fuzz; fuzz-long runs
#                 them
#   make bench    t/bench, peers side by side (BENCH=--quick: the short form)
#   make lint     layers, sizes, manual pages
#   make build-deps  installs what building and running need and is missing
#   make deb      a Debian package, build/deb/*.deb
#   make install  under PREFIX (/usr/local), configuration in /etc; DESTDIR
#
# Folder = program, room = archive, sources found by pattern: a new file
# needs no edit here.  FLAVOUR=san|fuzz|steps builds beside the plain one.

comma := ,
FLAVOUR ?=
B := build$(if $(FLAVOUR),/$(FLAVOUR))

# For targets that install what is missing first: on all processors, unless
# make was told how many.
AGAIN = $(MAKE) --no-print-directory \
	$(if $(filter -j% --jobs%,$(MAKEFLAGS)),,-j$(shell nproc))

PREFIX ?= /usr/local
bindir ?= $(PREFIX)/bin
sbindir ?= $(PREFIX)/sbin
libexecdir ?= $(PREFIX)/libexec/surat
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/surat
unitdir ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
tmpfilesdir ?= $(PREFIX)/lib/tmpfiles.d
sysconfdir ?= /etc
CC ?= cc
# PAM for people of the system, where there is one; PAM= leaves it out.
PAM ?= $(if $(wildcard /usr/include/security/pam_appl.h),-lpam)
PKGS_conf := libconfuse
PKGS_ssl := openssl
pc = $(shell pkg-config $(1) $(2))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wpointer-arith -Wwrite-strings -Wno-missing-field-initializers
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE
OPT ?= -O2 -g
DEFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(if $(PAM),-DSURAT_PAM)
LDHARDEN := -pie -Wl,-z,relro,-z,now -Wl,--gc-sections
AS_NEEDED := -Wl,--as-needed

ifeq ($(FLAVOUR),san)
CC := gcc
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
LDSAN := -fsanitize=address,undefined
# The sanitizer has a crypt() of its own that calls the real one: the library
# is needed though no name seems to be missing.
AS_NEEDED :=
else ifeq ($(FLAVOUR),fuzz)
CC := clang
OPT := -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined
LDSAN := -fsanitize=address,undefined
else ifeq ($(FLAVOUR),steps)
# Counts what a parser does (t/fuzz/steps.c) for t/fuzz/test_worst.py.
OPT := -O1 -g -fsanitize-coverage=trace-pc
STEPS := $(B)/o/t/fuzz/steps.o
LDSAN := $(addprefix -Wl$(comma)--wrap=,memcpy memmove memset memcmp memchr \
	memrchr memmem strlen)
else
DEFS += -D_FORTIFY_SOURCE=2
endif

CFLAGS += -std=gnu11 $(OPT) $(WARN) $(HARDEN) $(DEFS) -Icommon \
	-ffunction-sections -fdata-sections -MMD -MP
LDFLAGS += $(LDSAN) $(LDHARDEN) $(AS_NEEDED)

# ---------------------------------------------------------------- rooms
ROOMS := base mail sys ask store
room_objs = $(patsubst %.c,$(B)/o/%.o,$(wildcard common/$(1)/*.c))
room_lib = $(B)/lib/$(1).a

$(foreach r,$(ROOMS),$(eval $(call room_lib,$(r)): $(call room_objs,$(r))))
$(B)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/o/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I$(firstword $(subst /, ,$*)) -c -o $@ $<

# The version is the package's.
VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' etc/debian/changelog)
$(B)/o/ctl/main_surat.o: CFLAGS += -DVERSION='"$(VERSION)"'
$(B)/o/ctl/main_surat.o: etc/debian/changelog

# libraries of a room
LIBS_mail := -lcrypto -lutf8proc -lidn2
LIBS_sys := -lconfuse -lseccomp -lsqlite3
LIBS_store := -lsqlite3

# ------------------------------------------------------------- programs
# A program is its folder's *.c with the rooms it may use, in link order.
ALL_PROGS := suratd smtpd pop3d imapd queue deliver-local deliver-remote \
	deliver-pipe auth tls keys resolve surat sendmail

SRC_suratd := $(wildcard master/*.c)
SRC_smtpd := $(wildcard smtpd/*.c)
SRC_pop3d := $(wildcard pop3d/*.c)
SRC_imapd := $(wildcard imapd/*.c)
SRC_queue := $(wildcard queue/*.c)
# deliver/, tls/ and ctl/ hold several programs each: main files named after
# them, the rest shared.
two = $(filter-out $(1)/main_%.c,$(wildcard $(1)/*.c)) $(1)/main_$(2).c
SRC_deliver-local := $(call two,deliver,local)
SRC_deliver-remote := $(call two,deliver,remote)
SRC_deliver-pipe := $(call two,deliver,pipe)
SRC_auth := $(wildcard auth/*.c)
SRC_tls := $(call two,tls,tls)
SRC_keys := $(call two,tls,keys)
SRC_resolve := $(wildcard resolve/*.c)
SRC_surat := $(call two,ctl,surat)
SRC_sendmail := $(call two,ctl,sendmail)

# Those whose main file stands.
main_of = $(filter %/main.c %/main_local.c %/main_remote.c %/main_pipe.c %/main_tls.c \
	%/main_keys.c %/main_surat.c %/main_sendmail.c,$(wildcard $(SRC_$(1))))
PROGS := $(foreach p,$(ALL_PROGS),$(if $(call main_of,$(p)),$(p)))

USE_suratd := ask sys base
USE_smtpd := ask mail sys base
USE_pop3d := store ask mail sys base
USE_imapd := store ask mail sys base
USE_queue := ask mail sys base
USE_deliver-local := store ask mail sys base
USE_deliver-remote := store ask mail sys base
USE_deliver-pipe := store ask mail sys base
USE_auth := ask mail sys base
USE_tls := ask sys base
USE_keys := ask sys base
USE_resolve := ask sys base
USE_surat := store ask mail sys base
USE_sendmail := store ask mail sys base

# The sanitizers' runtime has a crypt of its own that calls the real one: it
# would not be linked, as nobody else seems to need it.
CRYPT := -Wl,--no-as-needed -lcrypt -Wl,--as-needed
LIBS_queue := -lsqlite3
LIBS_auth := -lcrypto $(CRYPT) -largon2 -lpcre2-8 -lsqlite3 $(PAM)
LIBS_tls := -lssl -lcrypto
LIBS_keys := -lssl -lcrypto
LIBS_resolve := -lunbound
LIBS_imapd := -lz -lcrypto
LIBS_surat := -ljansson $(CRYPT) -lcrypto
LIBS_sendmail := -ljansson $(CRYPT) -lcrypto

all: $(addprefix $(B)/bin/,$(PROGS)) $(if $(filter sendmail,$(PROGS)), \
	$(B)/bin/mailq $(B)/bin/newaliases)
.DEFAULT_GOAL := all

define program
$(B)/bin/$(1): $(patsubst %.c,$(B)/o/%.o,$(SRC_$(1))) \
		$(foreach r,$(USE_$(1)),$(call room_lib,$(r)))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $(patsubst %.c,$(B)/o/%.o,$(SRC_$(1))) \
		$(foreach r,$(USE_$(1)),$(call room_lib,$(r))) \
		$$(LIBS_$(1)) $(foreach r,$(USE_$(1)),$$(LIBS_$(r)))
endef
$(foreach p,$(PROGS),$(eval $(call program,$(p))))

$(B)/bin/mailq $(B)/bin/newaliases: $(B)/bin/sendmail
	ln -sf sendmail $@

# ------------------------------------------------------------ unit tests
# t/unit/<room>/test_*.c: one libcheck binary per room (or program folder),
# linked only with that room and those below.
UNITS := $(notdir $(patsubst %/,%,$(dir $(wildcard t/unit/*/main.c))))
UNDER_base := base
UNDER_mail := mail base
UNDER_sys := sys base
UNDER_ask := ask sys base
# The rows are checked with the grammar that the mail room is checked with.
EXTRA_store := t/unit/mail/grammar.c
UNDER_store := store mail sys base
# A program folder's tests link its files but main*.c.
EXTRA_imapd := $(filter-out imapd/main.c,$(wildcard imapd/*.c))
UNDER_imapd := store ask mail sys base
EXTRA_pop3d := $(filter-out pop3d/main.c,$(wildcard pop3d/*.c))
UNDER_pop3d := store ask mail sys base
EXTRA_queue := $(filter-out queue/main.c,$(wildcard queue/*.c))
UNDER_queue := ask mail sys base
EXTRA_smtpd := $(filter-out smtpd/main.c,$(wildcard smtpd/*.c))
UNDER_smtpd := ask mail sys base
EXTRA_auth := $(filter-out auth/main.c,$(wildcard auth/*.c))
UNDER_auth := ask mail sys base
EXTRA_tls := $(filter-out tls/main_%.c,$(wildcard tls/*.c))
UNDER_tls := ask sys base
LIBS_tls := -lssl -lcrypto
EXTRA_resolve := $(filter-out resolve/main.c,$(wildcard resolve/*.c))
UNDER_resolve := ask sys base
EXTRA_deliver := $(filter-out deliver/main_%.c,$(wildcard deliver/*.c))
UNDER_deliver := store ask mail sys base
LIBS_deliver := -lcrypto
EXTRA_ctl := $(filter-out ctl/main_%.c,$(wildcard ctl/*.c))
UNDER_ctl := store ask mail sys base
LIBS_ctl := -ljansson $(CRYPT) -lcrypto

define unit
UOBJ_$(1) := $(patsubst %.c,$(B)/o/%.o,$(wildcard t/unit/$(1)/*.c) $(EXTRA_$(1)))
$(B)/t/unit_$(1): $$(UOBJ_$(1)) $(foreach r,$(UNDER_$(1)),$(call room_lib,$(r)))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ -lcheck -lsubunit -lm -lrt -lpthread \
		$$(LIBS_$(1)) $(foreach r,$(UNDER_$(1)),$$(LIBS_$(r)))
endef
$(foreach u,$(UNITS),$(eval $(call unit,$(u))))
# unit tests of a program folder include its private header
$(B)/o/t/unit/%.o: t/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I. -I$(firstword $(subst /, ,$*)) -It/unit -c -o $@ $<

unit: $(addprefix $(B)/t/unit_,$(UNITS)) $(B)/t/fault.so $(B)/t/recorder \
	$(B)/t/model_smtp $(if $(PAM),$(B)/t/pam_module.so)

# What PAM is asked in tests.
$(B)/t/pam_module.so: t/lib/pam_module.c
	@mkdir -p $(@D)
	cc -std=gnu11 -O2 -g -Wall -Wextra -shared -fPIC -o $@ $< -lpam

# Preloaded by tests that make calls fail or kill at them.
$(B)/t/fault.so: t/lib/fault.c
	@mkdir -p $(@D)
	cc -std=gnu11 -O2 -g -Wall -Wextra -D_GNU_SOURCE -shared -fPIC \
		$(if $(filter san,$(FLAVOUR)),-DNO_MEMORY) -o $@ $< -ldl

# The disks of t/crash/power; by itself, like a tool of the benches.
$(B)/t/recorder: t/crash/power/recorder.c
	@mkdir -p $(@D)
	cc -std=gnu11 -O2 -g -Wall -Wextra -o $@ $< \
		$(shell pkg-config --cflags --libs fuse3)

# ------------------------------------------------------------------ model
# Random SMTP sessions against a model: the session code and, for whatever it
# asks, functions (t/model/model.h).
MODEL_OBJS := $(patsubst %.c,$(B)/o/%.o,$(wildcard t/model/*.c) $(EXTRA_smtpd))
$(B)/o/t/model/%.o: t/model/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I. -Ismtpd -c -o $@ $<
$(B)/t/model_smtp: $(MODEL_OBJS) $(foreach r,$(UNDER_smtpd),$(call room_lib,$(r)))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(foreach r,$(UNDER_smtpd),$(LIBS_$(r)))

# ----------------------------------------------------------------- fuzzing
# t/fuzz/fuzz_<x>.c is one entry: a libFuzzer binary in build/fuzz/bin, and in
# every other build a program that replays t/fuzz/seeds/<x> (part of check).
# All rooms are linked; what an entry needs besides, it names here.
FUZZ := $(patsubst t/fuzz/fuzz_%.c,%,$(wildcard t/fuzz/fuzz_*.c))
FUZZ_EXTRA_imap := $(addprefix imapd/,parse.c seqset.c section.c search.c \
	flags.c match.c reply.c result.c resync.c sort.c thread.c url.c)
FUZZ_EXTRA_mime := t/unit/mail/grammar.c
FUZZ_EXTRA_dns := resolve/record.c
FUZZ_EXTRA_imap_session := t/fuzz/scratch.c \
	$(filter-out imapd/main.c,$(wildcard imapd/*.c))
FUZZ_EXTRA_pop3 := t/fuzz/scratch.c $(filter-out pop3d/main.c,$(wildcard pop3d/*.c))
FUZZ_EXTRA_smtp_session := t/model/world.c \
	$(filter-out smtpd/main.c,$(wildcard smtpd/*.c))
FUZZ_EXTRA_password := auth/password.c auth/digest.c auth/kdf.c auth/scram.c
FUZZ_EXTRA_tables := auth/users.c auth/aliases.c auth/password.c auth/digest.c \
	auth/kdf.c \
	auth/scram.c auth/table.c auth/table_file.c auth/table_remote.c
FUZZ_EXTRA_capability := deliver/capability.c
FUZZ_LIBS := $(sort $(foreach r,$(ROOMS),$(LIBS_$(r))) -lpcre2-8 -largon2 -lz)
FUZZ_ROOMS := $(foreach r,store ask mail sys base,$(call room_lib,$(r)))

define fuzz_entry
$(B)/t/fuzz_$(1): $(B)/o/t/fuzz/fuzz_$(1).o $(B)/o/t/fuzz/replay.o \
		$(patsubst %.c,$(B)/o/%.o,$(FUZZ_EXTRA_$(1))) $(FUZZ_ROOMS) \
		$(STEPS)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(FUZZ_LIBS)
$(B)/bin/fuzz_$(1): $(B)/o/t/fuzz/fuzz_$(1).o \
		$(patsubst %.c,$(B)/o/%.o,$(FUZZ_EXTRA_$(1))) $(FUZZ_ROOMS)
	@mkdir -p $$(@D)
	$$(CC) -fsanitize=fuzzer $$(LDFLAGS) -o $$@ $$^ $$(FUZZ_LIBS)
endef
$(foreach x,$(FUZZ),$(eval $(call fuzz_entry,$(x))))
$(B)/o/t/fuzz/steps.o: t/fuzz/steps.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g $(WARN) $(DEFS) -fno-builtin -c -o $@ $<
$(B)/o/t/fuzz/%.o: t/fuzz/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I. -c -o $@ $<

fuzz:
	@$(AGAIN) FLAVOUR=fuzz fuzz-binaries
fuzz-binaries: $(addprefix $(B)/bin/fuzz_,$(FUZZ))
# make fuzz-long LONG='--runs 100000000 utf7 date'
fuzz-long: fuzz
	@t/fuzz/long $(LONG)
fuzz-replay: $(addprefix $(B)/t/fuzz_,$(FUZZ))

# ----------------------------------------------------------------- benches
# t/bench/<x>.c is one tool of the benches, by itself: no room is linked.
BENCH_TOOLS := $(patsubst t/bench/%.c,$(B)/t/bench/%,$(wildcard t/bench/*.c))
$(B)/t/bench/%: t/bench/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -lpthread
bench-tools: $(BENCH_TOOLS)

# make bench BENCH=--quick
bench: deps
	@$(AGAIN) all bench-tools
	@BUILD=$(B) t/bench/run $(BENCH)

-include $(shell find $(B)/o -name '*.d' 2>/dev/null)

# ---------------------------------------------------------------- checks
# t/run runs every test binary and script, counts, and prints the totals.
deps:
	@t/deps
build-deps:
	@t/deps build

check: deps
	@$(AGAIN) all unit fuzz-replay
	@$(AGAIN) FLAVOUR=steps fuzz-replay
	@t/run $(B)

run: deps
	@$(AGAIN) all
	@t/demo $(B)

san: deps
	@$(AGAIN) FLAVOUR=san all unit fuzz-replay
	@t/run build/san

lint:
	@python3 t/lint/lint.py

# --------------------------------------------------------------- installing
# Every program lies in libexecdir, where suratd and surat find the others
# beside themselves; what people and scripts call are links to there.
D = $(DESTDIR)
INSTALL ?= install
# $(call link,from,to): a relative one, so that the whole can be moved.
link = ln -sf $(shell realpath -ms --relative-to=$(dir $(2)) $(1)) $(D)$(2)
# Units whose programs have a root directory of their own.
ROOTED := smtpd imapd pop3d tls
UNITS_IN := $(wildcard etc/systemd/surat*.service etc/systemd/surat*.socket \
	etc/systemd/surat*.path etc/systemd/surat.target)
DROPINS := $(wildcard etc/systemd/surat-*.d/*.conf)

# name:page, for what is told of on another's page
PAGES := deliver-local:deliver deliver-remote:deliver deliver-pipe:deliver keys:tls \
	mailq:sendmail newaliases:sendmail

install: all install-programs install-manuals install-units install-samples

install-programs: all
	$(INSTALL) -d $(D)$(bindir) $(D)$(sbindir) $(D)$(libexecdir)
	for p in $(PROGS); do \
		$(INSTALL) -m 755 $(B)/bin/$$p $(D)$(libexecdir)/ || exit; done
	$(call link,$(libexecdir)/suratd,$(sbindir)/suratd)
	$(call link,$(libexecdir)/sendmail,$(sbindir)/sendmail)
	$(INSTALL) -d $(D)$(PREFIX)/lib
	$(call link,$(sbindir)/sendmail,$(PREFIX)/lib/sendmail)
	$(call link,$(libexecdir)/surat,$(bindir)/surat)
	$(call link,$(libexecdir)/sendmail,$(bindir)/mailq)
	$(call link,$(libexecdir)/sendmail,$(bindir)/newaliases)

install-manuals:
	for m in man/*.[1-8]; do \
		d=$(D)$(mandir)/man$${m##*.}; $(INSTALL) -d $$d && \
		$(INSTALL) -m 644 $$m $$d/ || exit; done
	for l in $(PAGES); do \
		ln -sf $${l#*:}.8 $(D)$(mandir)/man8/$${l%:*}.8 || exit; done

install-units:
	$(INSTALL) -d $(D)$(unitdir) $(D)$(sysusersdir) $(D)$(tmpfilesdir)
	for u in $(UNITS_IN); do \
		sed 's,@libexecdir@,$(libexecdir),' $$u \
		>$(D)$(unitdir)/$${u##*/} || exit; done
	for u in $(DROPINS) \
		$(ROOTED:%=etc/systemd/surat-%.service.d/20-root.conf); do \
		d=$(D)$(unitdir)/$$(basename $$(dirname $$u)); \
		[ -e $$u ] || u=etc/systemd/20-root.conf; \
		$(INSTALL) -d $$d && $(INSTALL) -m 644 $$u $$d/ || exit; done
	chmod 644 $(D)$(unitdir)/surat*.*
	chmod 755 $(D)$(unitdir)/surat*.d
	$(INSTALL) -m 644 etc/sysusers.conf $(D)$(sysusersdir)/surat.conf
	$(INSTALL) -m 644 etc/tmpfiles.conf $(D)$(tmpfilesdir)/surat.conf

# The configuration is written by `surat setup`, or by hand from the sample.
install-samples:
	$(INSTALL) -d $(D)$(sysconfdir)/surat $(D)$(docdir)/examples
	cp -r etc/surat.conf etc/aliases etc/inetd etc/runit etc/s6 etc/fail2ban \
		etc/reports $(D)$(docdir)/examples/
	$(INSTALL) -m 644 README.md doc/*.md $(D)$(docdir)/

# A Debian package of what was built: build/deb/*.deb
deb: all
	@command -v dh >/dev/null || { echo "make deb needs debhelper:" \
		"apt-get install debhelper" >&2; exit 1; }
	rm -rf $(B)/deb
	mkdir -p $(B)/deb/surat
	cp -r etc/debian $(B)/deb/surat/debian
	cd $(B)/deb/surat && SURAT_TOP=$(CURDIR) \
		DEB_BUILD_OPTIONS=noautodbgsym dpkg-buildpackage -b -us -uc -d

.PHONY: deb install install-programs install-manuals install-units \
	install-samples
.PHONY: all unit check san run bench bench-tools fuzz fuzz-binaries fuzz-long \
	fuzz-replay lint clean install deps build-deps
clean:
	rm -rf build
