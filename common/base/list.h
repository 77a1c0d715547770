/* SPDX-License-Identifier: ISC */
/*
 * list: intrusive, doubly linked, with a head that is itself a link.
 *
 * A struct joins a list by a member `struct list x`.  A link that is in no
 * list is zero or points to itself; removing it is harmless.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

static inline void
list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool
list_is_empty(const struct list *l)
{
	return l->next == l || l->next == NULL;
}

static inline void
list_insert_before(struct list *at, struct list *l)
{
	l->prev = at->prev;
	l->next = at;
	at->prev->next = l;
	at->prev = l;
}

/* At the end; at the front. */
static inline void
list_add(struct list *head, struct list *l)
{
	list_insert_before(head, l);
}

static inline void
list_push(struct list *head, struct list *l)
{
	list_insert_before(head->next, l);
}

static inline void
list_remove(struct list *l)
{
	if (l->next == NULL)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#define list_entry(link, type, member) \
	((type *)((char *)(link) - offsetof(type, member)))

#define list_first(head, type, member) \
	(list_is_empty(head) ? NULL : list_entry((head)->next, type, member))

/* The body may remove `at` itself, no other link. */
#define list_each(head, at, save) \
	for (struct list *at = (head)->next, *save = at->next; at != (head); \
		at = save, save = at->next)

#endif
