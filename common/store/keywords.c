/* SPDX-License-Identifier: ISC */
/*
 * Keywords: words in rows, letters in file names.  A folder's first 26 words
 * have the letters a to z; the others of a message stand in the folder's
 * surat-keywords file, one line a message, so that no word is lost with the
 * index.  Which word has which letter is in surat-folder.
 */
#include "store/index.h"

#include <stdlib.h>

enum {
	LETTERS = 26,
	WORDS_MOST = 100000,
	OCTETS_MOST = 8 * 1024 * 1024, /* of them, together */
	PER_MESSAGE = 1000,
	FILE_MOST = 16 * 1024 * 1024, /* as control_load has it */
};

#define TOO_MANY_IN_FOLDER \
	status_never(5, 3, STR("the mailbox has as many keywords as it may"))
#define TOO_MANY_OF_ONE \
	status_never(5, 3, STR("a message would have too many keywords"))

/* Room for one with this number. */
static void
make_room(struct arena *a, struct words *w, size_t number)
{
	struct str *old = w->v;
	if (number < w->room)
		return;
	w->room = (number + 32) * 2;
	w->v = arena_array(a, w->room, sizeof *w->v);
	if (w->n > 0)
		memcpy(w->v, old, w->n * sizeof *w->v);
}

struct words
words_load(struct store *s, struct arena *a, int64_t folder)
{
	struct words w = {0};
	sqlite3_stmt *st = index_query(s, Q_WORDS, "i", folder);
	while (index_row(s, st)) {
		size_t number = (size_t)index_int(st, 0);
		if (number >= WORDS_MOST)
			continue;
		make_room(a, &w, number);
		w.v[number] = str_copy(a, index_text(st, 1));
		w.n = number + 1;
		w.octets += w.v[number].n;
	}
	return w;
}

static size_t
number_of(const struct words *w, struct str word)
{
	size_t i = 0;
	while (i < w->n && !str_eq_nocase(w->v[i], word))
		i++;
	return i;
}

/* LETTERS: it has none. */
static size_t
letter_of(const struct words *w, struct str word)
{
	const struct words first = {
		.v = w->v, .n = w->n < LETTERS ? w->n : LETTERS};
	size_t n = number_of(&first, word);
	return n < first.n ? n : LETTERS;
}

struct str
words_find(const struct words *w, struct str word)
{
	size_t n = number_of(w, word);
	return n < w->n ? w->v[n] : STR("");
}

struct str
words_intern(struct store *s, struct arena *a, const struct folder_row *f,
	struct words *w, struct str word)
{
	size_t n = number_of(w, word);
	if (n < w->n)
		return w->v[n];
	if (n >= WORDS_MOST || w->octets + word.n > OCTETS_MOST) {
		w->full = true;
		return STR("");
	}
	make_room(a, w, n);
	w->v[n] = str_copy(a, word);
	w->n = n + 1;
	w->octets += word.n;
	w->unsaved = true;
	index_run(s, Q_WORD_ADD, "iit", f->id, I(n), w->v[n]);
	return w->v[n];
}

struct status
words_keep(struct store *s, struct arena *a, const struct folder_row *f,
	struct words *w)
{
	if (w->full)
		return TOO_MANY_IN_FOLDER;
	if (w->unsaved)
		control_keep(s, a, f);
	w->unsaved = false;
	return status_fine();
}

struct status
words_fit(struct str text)
{
	size_t n = 1;
	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == ' ';
	return n > PER_MESSAGE ? TOO_MANY_OF_ONE : status_fine();
}

/* RFC 3501: an atom, without a backslash before it. */
bool
words_is_atom(struct str word)
{
	static const struct str special = STR_INIT("(){%*\"\\]");
	for (size_t i = 0; i < word.n; i++)
		if (word.p[i] <= ' ' || word.p[i] >= 0x7f ||
			str_has(special, word.p[i]))
			return false;
	return word.n > 0 && word.n < 1000;
}

static int
by_octets(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

struct str
words_join(struct arena *a, struct str_list list)
{
	struct str_list sorted = {arena_array(a, list.n, sizeof *list.v), 0};
	if (list.n == 0)
		return STR("");
	struct str *v = arena_copy(a, list.v, list.n * sizeof *list.v);
	qsort(v, list.n, sizeof *v, by_octets);
	for (size_t i = 0; i < list.n; i++)
		if (v[i].n > 0 && (i == 0 || !str_eq(v[i], v[i - 1])))
			sorted.v[sorted.n++] = v[i];
	return str_join(a, sorted, STR(" "));
}

struct str_list
words_split(struct arena *a, struct str text)
{
	struct str_list l = {0};
	struct str word;
	l.v = arena_array(a, text.n / 2 + 1, sizeof *l.v);
	while (str_word(&text, &word))
		l.v[l.n++] = word;
	return l;
}

uint32_t
words_letters(const struct words *w, struct str text)
{
	uint32_t letters = 0;
	struct str word;
	while (str_word(&text, &word)) {
		size_t n = letter_of(w, word);
		if (n < LETTERS)
			letters |= 1U << n;
	}
	return letters;
}

struct str
words_merge(struct arena *a, const struct words *w, struct str text,
	uint32_t added, uint32_t removed)
{
	if ((added | removed) == 0)
		return text;
	struct str_list had = words_split(a, text), out = {0};
	out.v = arena_array(a, had.n + LETTERS, sizeof *out.v);
	for (size_t i = 0; i < had.n; i++) {
		size_t n = letter_of(w, had.v[i]);
		if (n == LETTERS || !(removed & 1U << n))
			out.v[out.n++] = had.v[i];
	}
	for (size_t n = 0; n < LETTERS && n < w->n; n++)
		if (added & 1U << n)
			out.v[out.n++] = w->v[n];
	return words_join(a, out);
}

/* ------------------------------------------------------------ side file */

bool
words_beyond(const struct words *w, struct str text)
{
	struct str word;
	if (w->n <= LETTERS)
		return false;
	while (str_word(&text, &word))
		if (letter_of(w, word) == LETTERS)
			return true;
	return false;
}

struct str
words_without_letters(struct arena *a, const struct words *w, struct str text)
{
	struct str_list had = words_split(a, text), out = {0};
	out.v = arena_array(a, had.n, sizeof *out.v);
	for (size_t i = 0; i < had.n && out.n < PER_MESSAGE; i++)
		if (w->n >= LETTERS && letter_of(w, had.v[i]) == LETTERS)
			out.v[out.n++] = had.v[i];
	return words_join(a, out);
}

void
words_save_file(struct store *s, struct arena *a, struct folder_row *f)
{
	struct words w = words_load(s, a, f->id);
	struct buf *b = buf_new(a);
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_WORDS, "ii",
		index_key(f->id, 0), index_key(f->id, UINT32_MAX));
	while (index_row(s, st)) {
		struct str text = index_text(st, 1);
		if (!words_beyond(&w, text))
			continue;
		if (b->n + text.n > FILE_MOST - 16) {
			index_end(st);
			break;
		}
		buf_addn(b, index_uid(index_int(st, 0)));
		buf_addc(b, ' ');
		buf_add(b, text);
		buf_addc(b, '\n');
	}
	if (control_save(s, a, folder_path(a, f->dir, "surat-keywords"),
		    buf_str(b), true))
		f->words_owed = false;
}

struct str
words_file_text(struct store *s, struct arena *a, const struct folder_row *f)
{
	struct str text = {0};
	control_load(s, a, folder_path(a, f->dir, "surat-keywords"), &text);
	return text;
}

/* Lines ascend by UID: binary search over octets. */
struct str
words_in_file(struct str text, uint32_t uid)
{
	size_t low = 0, high = text.n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		size_t from = str_find_last(str_head(text, middle), '\n');
		from = from == middle ? 0 : from + 1;
		struct str rest = str_skip(text, from), number;
		struct str line = str_head(rest, str_find(rest, '\n'));
		size_t end = from + line.n + 1;
		uint64_t n = 0;
		str_cut(&line, ' ', &number);
		if (!str_number(number, UINT32_MAX, &n))
			return STR("");
		if (n == uid)
			return line;
		if (n < uid)
			low = end;
		else
			high = from;
	}
	return STR("");
}
