/* SPDX-License-Identifier: ISC */
/* Sets of UIDs, line ends, and what rows say of real messages. */
#include "mail/charset.h"
#include "mail/grammar.h"
#include "store_suites.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ----------------------------------------------------------------- sets */

START_TEST(test_uid_set)
{
	struct arena *a = arena_new("test");
	struct uid_set s = {0};
	for (uint32_t uid = 1; uid < 3000; uid++)
		if (uid % 7 != 0)
			uid_set_add(a, &s, uid);
	uid_set_add(a, &s, 5); /* is in it */
	uid_set_add(a, &s, UINT32_MAX);
	for (uint32_t uid = 1; uid < 3000; uid++)
		ck_assert(uid_set_has(&s, uid) == (uid % 7 != 0));
	ck_assert(!uid_set_has(&s, 3000) && !uid_set_has(&s, 0));
	ck_assert(uid_set_has(&s, UINT32_MAX));
	ck_assert_uint_eq(s.n, 430);
	ck_assert_uint_eq(uid_set_count(&s), 2999 - 428 + 1);
	ck_assert(!uid_set_has(&(struct uid_set){0}, 1));
	arena_free(a);
}
END_TEST

/* Of random sets, beside what one asks number by number. */
START_TEST(test_uid_set_algebra)
{
	struct arena *a = arena_new("test");
	unsigned seed = 1;
	for (int round = 0; round < 50; round++) {
		struct uid_set x = {0}, y = {0};
		for (uint32_t uid = 1; uid < 200; uid++) {
			seed = seed * 1103515245 + 12345;
			if (seed >> 16 & (round % 4 + 1))
				uid_set_add(a, &x, uid);
			if (seed >> 24 & (round % 3 + 1))
				uid_set_add(a, &y, uid);
		}
		uid_set_add_range(a, &x, 1000, UINT32_MAX);
		uid_set_add_range(a, &y, 2000, 3000 + (uint32_t)round);
		struct uid_set minus = uid_set_minus(a, &x, &y);
		struct uid_set both = uid_set_and(a, &x, &y);
		for (uint32_t uid = 0; uid < 3100; uid++) {
			bool in_x = uid_set_has(&x, uid),
			     in_y = uid_set_has(&y, uid);
			ck_assert(uid_set_has(&minus, uid) == (in_x && !in_y));
			ck_assert(uid_set_has(&both, uid) == (in_x && in_y));
		}
		ck_assert(uid_set_has(&minus, UINT32_MAX));
	}
	arena_free(a);
}
END_TEST

/* ------------------------------------------------------------ line ends */

static struct str
wire_of(struct arena *a, struct str raw)
{
	struct buf *b = buf_new(a);
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] == '\n' && (i == 0 || raw.p[i - 1] != '\r'))
			buf_addc(b, '\r');
		buf_addc(b, raw.p[i]);
	}
	return buf_str(b);
}

static const struct str raws[] = {
	STR_INIT(""),
	STR_INIT("\n"),
	STR_INIT("\r"),
	STR_INIT("\r\n"),
	STR_INIT("\n\n\n"),
	STR_INIT("\r\r\n\n\r"),
	STR_INIT("a\nb\r\nc\rd\n"),
	STR_INIT("no end"),
	STR_INIT("\0\n\0"),
};

enum { RAWS = sizeof raws / sizeof *raws };

/* Whatever the pieces: the same octets as when done at once. */
START_TEST(test_wire_in_pieces)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < RAWS; i++) {
		struct str want = wire_of(a, raws[i]);
		ck_assert_uint_eq(message_wire_size(raws[i]), want.n);
		for (size_t room = 1; room < 6; room++) {
			struct message_wire w = {.raw = raws[i]};
			struct buf *got = buf_new(a);
			size_t n;
			while ((n = message_wire_fill(&w, buf_room(got, room),
				room)) > 0)
				buf_grew(got, n);
			ck_assert(str_eq(buf_str(got), want));
		}
	}
	arena_free(a);
}
END_TEST

START_TEST(test_wire_skip)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < RAWS; i++) {
		struct str want = wire_of(a, raws[i]);
		for (size_t skip = 0; skip < want.n + 2; skip++) {
			struct message_wire w = {.raw = raws[i]};
			char rest[32];
			message_wire_skip(&w, skip);
			size_t n = message_wire_fill(&w, rest, sizeof rest);
			ck_assert(str_eq(str_of(rest, n),
				str_skip(want, skip)));
		}
	}
	arena_free(a);
}
END_TEST

START_TEST(test_to_disk)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	char before = '\0';
	message_to_disk(b, STR("a\r\nb\r\r\nc\rd\ne\r"), &before);
	ck_assert_view(buf_str(b), "a\nb\r\r\nc\rd\ne\r");
	arena_free(a);
}
END_TEST

/* Any mixture of CR, LF and others without a bare LF comes back. */
START_TEST(test_to_disk_and_back)
{
	static const char *const atoms[] = {"\r\n", "\r", "x"};
	struct arena *a = arena_new("test");
	for (unsigned i = 0; i < 729; i++) {
		struct buf *wire = buf_new(a), *disk = buf_new(a);
		char before = '\0';
		for (unsigned k = 0, n = i; k < 6; k++, n /= 3)
			buf_adds(wire, atoms[n % 3]);
		message_to_disk(disk, buf_str(wire), &before);
		ck_assert(str_eq(wire_of(a, buf_str(disk)), buf_str(wire)));
		ck_assert_uint_eq(message_wire_size(buf_str(disk)), wire->n);
	}
	arena_free(a);
}
END_TEST

/* ----------------------------------------------------------------- rows */

static struct str
file_text(struct arena *a, const char *path)
{
	struct str raw;
	int fd = open(path, O_RDONLY);
	ck_assert_msg(fd >= 0, "%s", path);
	ck_assert(row_content(a, fd, &raw));
	close(fd);
	return raw;
}

/* As SMTP would hand it over. */
static struct str
crlf(struct arena *a, struct str text)
{
	struct buf *b = buf_new(a);
	struct str line;
	while (str_cut(&text, '\n', &line)) {
		while (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		buf_add(b, line);
		if (text.p != NULL)
			buf_adds(b, "\r\n");
	}
	return buf_str(b);
}

static void
check_row(struct mailbox *m, struct arena *a, struct str want)
{
	struct message_row row;
	struct message_file f;
	ck_assert(mailbox_row(m, a, mailbox_last_uid(m), WANT_ALL, &row));
	ck_fine(mailbox_read(m, a, row.uid, &f));
	ck_assert(str_eq(wire_of(a, f.raw), want));
	ck_assert_uint_eq(row.size, want.n);
	ck_assert_uint_eq(f.size, want.n);
	ck_assert_uint_eq(row.file_size, f.raw.n);
	struct maildir_name n = maildir_parse(row.name);
	ck_assert(n.has_size && n.size == row.file_size);
	ck_assert(n.has_wire_size && n.wire_size == row.size);
	ck_assert_uint_eq(n.uid, row.uid);
	ck_assert_int_eq(row.date, 1764000000);
	ck_assert_int_ge(row.saved, row.date - 1);
	ck_assert(row.in_new && row.flags == 0 && row.keywords.n == 0);
	ck_assert_msg(grammar_is_envelope(row.envelope), "%.*s",
		STR_ARG(row.envelope));
	ck_assert_msg(grammar_is_body(row.body, false), "%.*s",
		STR_ARG(row.body));
	ck_assert_msg(grammar_is_body(row.structure, true), "%.*s",
		STR_ARG(row.structure));
	ck_assert(row.preview.n <= 256 && charset_is_utf8(row.preview));
	ck_assert(charset_is_utf8(row.subject) && charset_is_utf8(row.from));
	ck_assert(!str_has(row.subject, '\n') && !str_has(row.from, '\n'));
}

static void
check_delivery(struct home *h, struct arena *a, struct mailbox *m, unsigned n,
	const char *path)
{
	struct mailbox_news news;
	struct delivery d = {
		.name = str_printf(a, "1764000000.c%u.host", n),
		.head = STR("Return-Path: <>\r\n"),
		.content = crlf(a, file_text(a, path)),
		.date = 1764000000};
	struct str parts[2] = {d.head, d.content};
	struct str want = str_join(a, (struct str_list){parts, 2}, STR(""));
	store_deliver(h->s, a, &d, 1, &(struct delivery_rules){0});
	ck_fine(d.status);
	ck_fine(mailbox_news(m, a, true, &news));
	ck_assert_uint_eq(news.arrived, 1);
	check_row(m, a, want);
}

/* Every message of the corpus: its octets come back, its row fits them. */
START_TEST(test_rows_of_the_corpus)
{
	struct home h;
	home_new(&h);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	DIR *d = opendir("t/corpus/mime");
	struct dirent *e;
	unsigned n = 0;
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		if (!str_ends(str_from(e->d_name), STR(".eml")))
			continue;
		struct arena *a = arena_new("one");
		check_delivery(&h, a, m, ++n, str_cstr(a, str_printf(a,
			"t/corpus/mime/%s", e->d_name)));
		arena_free(a);
	}
	closedir(d);
	ck_assert_uint_gt(n, 100);
	ck_assert_uint_eq(mailbox_count(m), n);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

START_TEST(test_row_texts)
{
	struct home h;
	struct message_row row;
	home_new(&h);
	deliver_one(h.s, h.a, "q1");
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert(mailbox_row(m, h.a, 1, WANT_ALL, &row));
	ck_assert_view(row.subject, "GRU\xcc\x88\xe1\xba\x9e" "E FROM Q1");
	ck_assert_view(row.sort_subject, "GRU\xcc\x88\xe1\xba\x9e" "E FROM Q1");
	ck_assert_view(row.sort_from, "BOB");
	ck_assert_view(row.display_from, "BOB");
	ck_assert_view(row.message_id, "q1@example.test");
	ck_assert_view(row.preview, "Hello, this is q1.");
	ck_assert_int_eq(row.sent, 1795449600);
	ck_assert(row.thread != 0);
	/* what is not wanted does not come */
	ck_assert(mailbox_row(m, h.a, 1, WANT_SIZES, &row));
	ck_assert(row.envelope.n == 0 && row.name.n == 0 && row.size > 0);
	ck_assert(!mailbox_row(m, h.a, 2, WANT_ALL, &row));
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* ----------------------------------------------------------------- file */

START_TEST(test_read_follows_a_rename)
{
	struct home h;
	struct message_file f;
	home_new(&h);
	deliver_one(h.s, h.a, "q1");
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_int_eq(shell(&h, "mv new/* cur/x; mv cur/x cur/1764000000"
		".q1.host,UID=1:2,S"), 0);
	ck_fine(mailbox_read(m, h.a, 1, &f));
	ck_assert(str_ends(f.raw, STR("this is q1.\n")));
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

START_TEST(test_read_what_is_gone)
{
	struct home h;
	struct message_file f;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 2);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_int_eq(shell(&h, "rm new/*.q0.*"), 0);
	struct status st = mailbox_read(m, h.a, 1, &f);
	ck_assert(st.class == STATUS_NEVER);
	ck_assert_view(st.text, "message is gone");
	ck_fine(mailbox_read(m, h.a, 2, &f));
	st = mailbox_read(m, h.a, 99, &f);
	ck_assert(st.class == STATUS_NEVER);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* A large file; another program cuts it off while its octets are in use. */
START_TEST(test_read_large)
{
	struct home h;
	struct message_file f;
	struct message_row row;
	home_new(&h);
	ck_assert_int_eq(shell(&h, "{ echo 'Subject: large'; echo; "
		"seq 1 200000; } > new/large"), 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 1);
	ck_fine(mailbox_read(m, h.a, 1, &f));
	ck_assert(mailbox_row(m, h.a, 1, WANT_SIZES, &row));
	ck_assert_uint_gt(f.raw.n, 1000000);
	ck_assert_uint_eq(row.file_size, f.raw.n);
	ck_assert_uint_eq(row.size, f.raw.n + 200002);
	ck_assert(str_ends(f.raw, STR("\n200000\n")));
	ck_assert_int_eq(shell(&h, "truncate -s 1000 new/* cur/*"), 0);
	ck_assert(str_ends(f.raw, STR("\n200000\n")));
	ck_assert_uint_eq(message_wire_size(f.raw), row.size);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* The octets of a UID never change: what was written over is a new message. */
START_TEST(test_file_changed_in_place)
{
	struct home h;
	struct message_file f;
	struct mailbox_news news;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 2);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_int_eq(shell(&h, "{ echo 'Subject: x'; seq 1 999; } > "
		"$(ls new/*.q0.*)"), 0);
	struct status st = mailbox_read(m, h.a, 1, &f);
	ck_assert(st.class == STATUS_NEVER);
	ck_fine(mailbox_news(m, h.a, true, &news));
	ck_assert_uint_eq(mailbox_uid(m, 1), 2);
	ck_assert_uint_eq(mailbox_uid(m, 2), 3);
	ck_fine(mailbox_read(m, h.a, 3, &f));
	ck_assert(str_ends(f.raw, STR("\n999\n")));
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* What is no message is no message, and hinders nothing. */
START_TEST(test_strange_entries)
{
	struct home h;
	home_new(&h);
	ck_assert_int_eq(shell(&h, "mkfifo cur/pipe; mkdir cur/dir new/dir; "
		"ln -s /etc/passwd cur/link; echo x > cur/.hidden; "
		"ln -s nowhere new/dangling; : > cur/empty:2,S; "
		"printf 'Subject: y\\n\\ny' > 'new/a b:c:2,S'"), 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 2);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

Suite *
suite_message(void)
{
	return SUITE("message", test_uid_set, test_uid_set_algebra,
		test_wire_in_pieces,
		test_wire_skip, test_to_disk, test_to_disk_and_back,
		test_rows_of_the_corpus,
		test_row_texts, test_read_follows_a_rename,
		test_read_what_is_gone, test_read_large,
		test_file_changed_in_place, test_strange_entries);
}
