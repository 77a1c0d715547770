/* SPDX-License-Identifier: ISC */
/*
 * loop: descriptors and timers, for the few programs that serve many peers
 * at once (master, queue, auth, tls, keys, resolve).  Level-triggered epoll.
 *
 * Callbacks may add and remove any watch or timer, their own included; a
 * removed one is never called again.
 */
#ifndef SYS_LOOP_H
#define SYS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct loop;
struct loop_watch;
struct loop_timer;

enum loop_events {
	LOOP_READ = 1,
	LOOP_WRITE = 2,
	LOOP_HANGUP = 4, /* reported, never asked for */
};

typedef void (*loop_fd_fn)(void *ctx, int fd, unsigned events);
typedef void (*loop_timer_fn)(void *ctx);

struct loop *loop_new(struct arena *a);

struct loop_watch *loop_watch(struct loop *l, int fd, unsigned events,
	loop_fd_fn fn, void *ctx);
/* LOOP_READ | LOOP_WRITE or none for now; hang-up is still reported. */
void loop_watch_set(struct loop_watch *w, unsigned events);
/* Does not close the descriptor. */
void loop_unwatch(struct loop_watch *w);

/* Once, at the deadline (clock_in(ms)). */
struct loop_timer *loop_timer(struct loop *l, int64_t deadline,
	loop_timer_fn fn, void *ctx);
void loop_untimer(struct loop_timer *t);

/* fn runs once at the end of each turn in which something happened: the
 * place to flush what the turn gathered. */
void loop_after(struct loop *l, loop_timer_fn fn, void *ctx);

/* Until loop_stop. */
void loop_run(struct loop *l);
/* One turn, waiting at most ms. */
void loop_turn(struct loop *l, int ms);
void loop_stop(struct loop *l);

#endif
