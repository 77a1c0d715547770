/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "sys/keep.h"
#include "sys/loop.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Children of whom only the other end of the link is real. */
enum { CHILDREN = 3 };

static struct keeper keep;
static struct arena *arena;
static int theirs[CHILDREN];

static void
on_change(struct keeper *k)
{
	(void)k;
}

static void
say(int child, const char *word)
{
	ck_assert_int_eq(send(theirs[child], word, 1, 0), 1);
	loop_turn(keep.loop, 1000);
}

/* Has been told to finish: its link is closed. */
static bool
is_let_go(int child)
{
	char c;
	return recv(theirs[child], &c, 1, MSG_DONTWAIT) == 0;
}

static void
begin(const char *const keys[CHILDREN])
{
	int pair[2];
	arena = arena_new("test");
	keep = (struct keeper){.loop = loop_new(arena), .name = "test",
		.changed = on_change};
	keeper_init(&keep);
	for (int i = 0; i < CHILDREN; i++) {
		ck_assert(keeper_pair(pair));
		theirs[i] = pair[1];
		keeper_add(&keep, 1000000000 + i, pair[0], str_from(keys[i]));
		say(i, "-");
	}
	ck_assert_int_eq(keep.in[KEPT_BUSY], CHILDREN);
}

static void
end(void)
{
	for (int i = 0; i < CHILDREN; i++) {
		ck_assert(keeper_bury(&keep, 1000000000 + i, 0, true, false));
		close(theirs[i]);
	}
	arena_free(arena);
}

START_TEST(lent_to_its_key_alone)
{
	begin((const char *const[]){"a", "b", "a"});
	ck_assert_int_eq(keeper_lend(&keep, STR("a")), -1);
	say(0, "-");
	ck_assert_int_eq(keeper_lend(&keep, STR("b")), -1);
	int link = keeper_lend(&keep, STR("a"));
	ck_assert_int_ge(link, 0);
	/* busy: nobody else gets it */
	ck_assert_int_eq(keeper_lend(&keep, STR("a")), -1);
	ck_assert_int_eq(send(link, "x", 1, 0), 1);
	char c;
	ck_assert_int_eq(recv(theirs[0], &c, 1, MSG_DONTWAIT), 1);
	end();
}
END_TEST

START_TEST(who_was_not_promised_ends)
{
	begin((const char *const[]){"a", "", "a"});
	say(1, "-");
	ck_assert(is_let_go(1));
	ck_assert_int_eq(keeper_size(&keep), 2);
	end();
}
END_TEST

START_TEST(recalled)
{
	begin((const char *const[]){"a", "a", "a"});
	say(0, "-");
	keeper_recall(&keep);
	ck_assert(is_let_go(0));
	ck_assert(!is_let_go(1));
	ck_assert_int_eq(keeper_lend(&keep, STR("a")), -1);
	say(1, "-");
	ck_assert(is_let_go(1));
	ck_assert_int_eq(keeper_size(&keep), 1);
	end();
}
END_TEST

/* The one that waits longest, whenever it was started. */
START_TEST(who_waits_longest_goes_first)
{
	begin((const char *const[]){"a", "b", "c"});
	say(2, "-");
	say(0, "-");
	say(1, "-");
	ck_assert(keeper_spare(&keep));
	ck_assert(is_let_go(2));
	keeper_sweep(&keep, 0); /* they have just begun to wait */
	ck_assert(!is_let_go(0) && !is_let_go(1));
	ck_assert_int_ge(keeper_lend(&keep, STR("b")), 0);
	ck_assert(keeper_spare(&keep));
	ck_assert(is_let_go(0) && !is_let_go(1));
	ck_assert(!keeper_spare(&keep));
	end();
}
END_TEST

/* However many users come and go. */
START_TEST(no_more_than_so_many_wait)
{
	enum { USERS = 80, MOST = 64 };
	char key[16];
	int other[USERS], pair[2], gone = 0;
	begin((const char *const[]){"a", "b", "c"});
	for (int i = 0; i < USERS; i++) {
		snprintf(key, sizeof key, "user%d", i);
		ck_assert(keeper_pair(pair));
		other[i] = pair[1];
		keeper_add(&keep, 2000000000 + i, pair[0], str_from(key));
		ck_assert_int_eq(send(other[i], "-", 1, 0), 1);
		ck_assert_int_eq(send(other[i], "-", 1, 0), 1);
		loop_turn(keep.loop, 1000);
	}
	ck_assert_int_eq(keep.in[KEPT_IDLE], MOST);
	for (int i = 0; i < USERS; i++) {
		char c;
		gone += recv(other[i], &c, 1, MSG_DONTWAIT) == 0;
		ck_assert_int_eq(gone, i < USERS - MOST ? i + 1 : USERS - MOST);
		close(other[i]);
	}
	for (int i = 0; i < USERS; i++)
		keeper_bury(&keep, 2000000000 + i, 0, true, false);
	end();
}
END_TEST

/* Its end of the link is gone before anybody was told that it died. */
START_TEST(the_dead_are_not_lent)
{
	begin((const char *const[]){"a", "b", "c"});
	say(0, "-");
	close(theirs[0]);
	loop_turn(keep.loop, 1000);
	ck_assert_int_eq(keeper_lend(&keep, STR("a")), -1);
	theirs[0] = dup(0);
	end();
}
END_TEST

Suite *
suite_keep(void)
{
	return SUITE("keep", lent_to_its_key_alone, who_was_not_promised_ends,
		recalled, who_waits_longest_goes_first,
		no_more_than_so_many_wait, the_dead_are_not_lent);
}
