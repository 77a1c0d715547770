/* SPDX-License-Identifier: ISC */
/* How much an account may hold: APPEND, COPY and delivery refuse what does not
 * fit, whoever filled or emptied it. */
#include "store/quota.h"
#include "store_suites.h"

#include <unistd.h>

static void
limit(struct home *h, uint64_t messages, uint64_t octets)
{
	quota_set(h->s, &(struct quota){.messages = messages,
		.octets = octets});
}

static struct quota_usage
usage(struct home *h)
{
	struct quota_usage u;
	ck_fine(quota_usage(h->s, h->a, &u));
	return u;
}

static void
refused(struct status st)
{
	ck_assert_int_eq(st.class, STATUS_NEVER);
	ck_assert(st.subject == 2 && st.detail == 2);
	ck_assert_view(st.text, "the mailbox is full");
}

static struct status
append_some(struct home *h, unsigned n, size_t octets)
{
	struct append *p;
	struct append_result r;
	struct append_message one = {.date = 1};
	ck_fine(append_begin(h->s, h->a, STR("Drafts"), &p));
	for (unsigned i = 0; i < n; i++) {
		ck_fine(append_message(p, &one));
		for (size_t k = 0; k < octets; k++)
			ck_fine(append_write(p, STR("x")));
		ck_fine(append_end(p));
	}
	struct status st = append_commit(p, &r);
	ck_assert(status_is_fine(st) || r.uids.n == 0);
	return st;
}

START_TEST(test_usage)
{
	struct home h;
	home_new(&h);
	struct quota_usage u = usage(&h);
	ck_assert(u.messages == 0 && u.octets == 0 && u.level == QUOTA_FINE);
	ck_fine(append_some(&h, 2, 100));
	deliver_one(h.s, h.a, "q");
	u = usage(&h);
	ck_assert_uint_eq(u.messages, 3);
	ck_assert_uint_eq(u.octets, 200 + status_of(h.s, h.a, "INBOX")
		.file_size);
	/* without limits there is always room */
	ck_fine(quota_room(h.s, h.a, UINT64_MAX, UINT64_MAX));
	home_gone(&h);
}
END_TEST

START_TEST(test_levels)
{
	static const struct {
		uint64_t messages, octets;
		enum quota_level level;
	} rows[] = {
		{0, 0, QUOTA_FINE},
		{100, 0, QUOTA_FINE},
		{12, 0, QUOTA_FINE},
		{11, 0, QUOTA_WARN},
		{10, 0, QUOTA_FULL},
		{1, 0, QUOTA_FULL},
		{0, 1000, QUOTA_FULL},
		{0, 1111, QUOTA_WARN},
		{0, 1200, QUOTA_FINE},
		{100, 1111, QUOTA_WARN},
		{0, UINT64_MAX, QUOTA_FINE},
	};
	struct home h;
	home_new(&h);
	ck_fine(append_some(&h, 10, 100));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		limit(&h, rows[i].messages, rows[i].octets);
		struct quota_usage u = usage(&h);
		ck_assert_msg(u.level == rows[i].level, "%zu", i);
		ck_assert(u.limits.messages == rows[i].messages);
	}
	home_gone(&h);
}
END_TEST

START_TEST(test_append)
{
	struct home h;
	home_new(&h);
	limit(&h, 5, 1000);
	ck_fine(append_some(&h, 2, 100));
	ck_fine(quota_room(h.s, h.a, 3, 800));
	refused(quota_room(h.s, h.a, 4, 1));
	refused(quota_room(h.s, h.a, 1, 801));
	refused(append_some(&h, 4, 10));
	refused(append_some(&h, 1, 801));
	/* exactly what there is */
	ck_fine(append_some(&h, 1, 800));
	refused(append_some(&h, 1, 1));
	ck_fine(append_some(&h, 1, 0));
	ck_assert_uint_eq(usage(&h).messages, 4);
	ck_assert_int_eq(shell_number(&h, "find . -path '*/tmp/*' | wc -l"), 0);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

START_TEST(test_copy_and_move)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 5);
	limit(&h, 8, 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, 4);
	refused(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_uint_eq(c.to.n, 0);
	ck_assert_int_eq(shell_number(&h, "ls .Sent/cur | wc -l"), 0);
	set = set_of(h.a, 1, 3);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	/* full: but moving takes no room, and expunging makes some */
	ck_assert_int_eq(usage(&h).level, QUOTA_FULL);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Trash"), true, &c));
	ck_assert_uint_eq(usage(&h).messages, 8);
	set = set_of(h.a, 4, 5);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_fine(append_some(&h, 2, 1));
	refused(append_some(&h, 1, 1));
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Each message by itself; and later, if mail is to wait. */
START_TEST(test_delivery)
{
	struct home h;
	home_new(&h);
	quota_set(h.s, &(struct quota){.octets = 300, .later = true});
	char text[400];
	memset(text, 'x', sizeof text);
	struct delivery v[] = {
		{.name = STR("1.a.h"), .content = str_of(text, 100)},
		{.name = STR("1.b.h"), .content = str_of(text, 250)},
		{.name = STR("1.c.h"), .content = str_of(text, 200)},
		{.name = STR("1.d.h"), .content = str_of(text, 1)},
	};
	store_deliver(h.s, h.a, v, 4, &(struct delivery_rules){0});
	ck_fine(v[0].status);
	ck_assert_int_eq(v[1].status.class, STATUS_LATER);
	ck_assert(v[1].status.subject == 2 && v[1].status.detail == 2);
	ck_fine(v[2].status);
	ck_assert_int_eq(v[3].status.class, STATUS_LATER);
	ck_assert_uint_eq(usage(&h).octets, 300);
	ck_assert_int_eq(shell_number(&h, "ls tmp new | grep -c h"), 2);
	limit(&h, 0, 200);
	store_deliver(h.s, h.a, &v[1], 1, &(struct delivery_rules){0});
	refused(v[1].status);
	/* what was delivered before is not refused now */
	v[2].verify = true;
	store_deliver(h.s, h.a, &v[2], 1, &(struct delivery_rules){0});
	ck_fine(v[2].status);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Other programs fill it and empty it, in folders nobody has open. */
START_TEST(test_foreign_changes)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	limit(&h, 0, 1000);
	ck_assert_int_eq(shell(&h, "head -c 600 /dev/zero > new/1; "
		"head -c 300 /dev/zero > .Sent/cur/2:2,S; mkdir -p .x/cur; "
		"head -c 50 /dev/zero > .x/cur/3:2,"), 0);
	ck_assert_uint_eq(usage(&h).octets, 950);
	ck_assert_int_eq(usage(&h).level, QUOTA_WARN);
	refused(append_some(&h, 1, 100));
	ck_assert_int_eq(shell(&h, "rm .Sent/cur/*"), 0);
	ck_fine(append_some(&h, 1, 100));
	ck_assert_int_eq(shell(&h, "rm -r .x"), 0);
	struct mailbox *m = open_box(h.s, h.a, "Drafts");
	struct uid_set set = set_of(h.a, 1, 1);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	refused(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_int_eq(shell(&h, "rm new/*"), 0);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_uint_eq(usage(&h).octets, 500);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Limits that auth said of this account hold for everybody, also who opened it
 * before and knows nothing but the configuration. */
START_TEST(test_noted)
{
	struct home h;
	struct quota q;
	home_new(&h);
	struct store *other = home_other(&h);
	quota_set(other, &(struct quota){.messages = 100});
	ck_assert(quota_parse(STR("0 2 80 1"), &q));
	ck_assert(q.octets == 0 && q.messages == 2 && q.warn == 80 && q.later);
	ck_fine(quota_note(h.s, h.a, &q));
	deliver_one(other, h.a, "q1");
	ck_assert_int_eq(quota_level(other, h.a), QUOTA_FINE);
	deliver_one(other, h.a, "q2");
	ck_assert_int_eq(quota_level(other, h.a), QUOTA_FULL);
	struct status st = append_some(&h, 1, 1);
	ck_assert(status_is_later(st) && st.subject == 2 && st.detail == 2);
	/* none at all, whatever is configured */
	quota_set(h.s, &(struct quota){.messages = 1});
	ck_assert(quota_parse(STR("0 0 90 0"), &q));
	ck_fine(quota_note(h.s, h.a, &q));
	ck_fine(append_some(&h, 1, 1));
	store_close(other);
	home_gone(&h);
}
END_TEST

START_TEST(test_words_of_limits)
{
	static const char *const wrong[] = {"", "1", "1 2 3", "1 2 3 0 5",
		"1 2 101 0", "1 2 3 2", "-1 2 3 0", "1 2 3 x",
		"99999999999999999999 0 0 0"};
	struct quota q;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		ck_assert_msg(!quota_parse(str_from(wrong[i]), &q), "%s",
			wrong[i]);
}
END_TEST

Suite *
suite_quota(void)
{
	return SUITE("quota", test_usage, test_levels, test_append,
		test_copy_and_move, test_delivery, test_foreign_changes, test_noted,
		test_words_of_limits);
}
