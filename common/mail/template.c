/* SPDX-License-Identifier: ISC */
#include "mail/template.h"
#include "base/arena.h"
#include "mail/address.h"
#include "mail/charset.h"

enum {
	LINE_MOST = 400, /* octets, names not replaced */
	SUBJECT_MOST = 200,
	WRITTEN_MOST = 990, /* names replaced */
};

/* ---------------------------------------------------------------- texts */

#define FOR_ALL "host id"
#define ACTION(word) \
	{word, "", 64, false}, {word "-subject", FOR_ALL, SUBJECT_MOST, false}, \
	{word "-text", FOR_ALL, LINE_MOST, true}

/* What a file may say, and which names may stand there. */
static const struct row {
	const char *key, *names;
	size_t most; /* octets of a line */
	bool lines; /* several */
} rows[TEMPLATE_TEXTS] = {
	{"intro", FOR_ALL, LINE_MOST, true},
	{"recipient", "recipient action", LINE_MOST, false},
	{"remote", "recipient action remote", LINE_MOST, false},
	{"until", "date", LINE_MOST, false},
	/* In the order of dsn_action. */
	ACTION("failed"), ACTION("delayed"), ACTION("delivered"),
	ACTION("relayed"), ACTION("expanded"),
};

/* The longest that may stand for a name. */
static const struct {
	const char *name;
	size_t most;
} names[] = {{"host", ADDRESS_DOMAIN_MOST}, {"id", 16}, {"date", 40},
	{"recipient", ADDRESS_LOCAL_MOST * 2 + ADDRESS_DOMAIN_MOST},
	{"remote", ADDRESS_DOMAIN_MOST}, {"action", 64}};

/* Subjects are short; the texts are set as a mail program without wide windows
 * shows them.  etc/reports has the same as files. */
static const struct template builtin[] = {
	{STR_INIT("en"), {
	STR_INIT("This is the mail system at {host}."),
	STR_INIT("<{recipient}> ({action}):"),
	STR_INIT("<{recipient}> ({action}), says {remote}:"),
	STR_INIT("Will be tried until {date}."),
	STR_INIT("failed"),
	STR_INIT("Undeliverable: your message was returned"),
	STR_INIT("Your message could not be delivered to one or more of its\n"
		"recipients. It will not be tried again."),
	STR_INIT("delayed"),
	STR_INIT("Delayed: your message is still on its way"),
	STR_INIT("This is a notice only: YOU DO NOT NEED TO SEND YOUR MESSAGE "
		"AGAIN.\nIt could not yet be delivered to one or more of its "
		"recipients\nand will be tried until the time given below."),
	STR_INIT("delivered"),
	STR_INIT("Delivered: your message has arrived"),
	STR_INIT("Your message was delivered to the recipients below, as you "
		"asked\nto be told."),
	STR_INIT("relayed"),
	STR_INIT("Relayed: your message was passed on"),
	STR_INIT("Your message was passed on to a system that sends no "
		"reports;\nno further notice will come from here."),
	STR_INIT("expanded"),
	STR_INIT("Expanded: your message was passed on"),
	STR_INIT("Your message was accepted for a list of recipients; no "
		"further\nnotice will come from here.")}},
	{STR_INIT("id"), {
	STR_INIT("Ini adalah sistem surel di {host}."),
	STR_INIT("<{recipient}> ({action}):"),
	STR_INIT("<{recipient}> ({action}), {remote} menjawab:"),
	STR_INIT("Akan dicoba sampai {date}."),
	STR_INIT("gagal"),
	STR_INIT("Tidak terkirim: pesan Anda dikembalikan"),
	STR_INIT("Pesan Anda tidak dapat dikirim kepada satu atau beberapa "
		"penerima.\nPengiriman tidak akan dicoba lagi."),
	STR_INIT("tertunda"),
	STR_INIT("Tertunda: pesan Anda masih dalam proses"),
	STR_INIT("Ini hanya pemberitahuan: ANDA TIDAK PERLU MENGIRIM ULANG "
		"PESAN ANDA.\nPesan belum dapat dikirim kepada satu atau "
		"beberapa penerima\ndan akan dicoba sampai waktu yang "
		"disebut di bawah."),
	STR_INIT("terkirim"),
	STR_INIT("Terkirim: pesan Anda sudah sampai"),
	STR_INIT("Pesan Anda sudah sampai kepada penerima di bawah, sesuai "
		"permintaan\nAnda untuk diberi tahu."),
	STR_INIT("diteruskan"),
	STR_INIT("Diteruskan: pesan Anda sudah diteruskan"),
	STR_INIT("Pesan Anda diteruskan ke sistem yang tidak mengirim "
		"laporan;\ntidak ada pemberitahuan lagi dari sini."),
	STR_INIT("disebarkan"),
	STR_INIT("Disebarkan: pesan Anda sudah diteruskan"),
	STR_INIT("Pesan Anda diterima untuk sebuah daftar penerima; tidak "
		"ada\npemberitahuan lagi dari sini.")}},
};

const struct template *
template_builtin(struct str tag)
{
	for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++)
		if (str_eq_nocase(builtin[i].tag, tag))
			return &builtin[i];
	return NULL;
}

/* ---------------------------------------------------------------- names */

/* "{host}" at the beginning of s; other braces are text. */
static bool
starts_name(struct str s, struct str *name)
{
	size_t i = 1;
	while (i < s.n && s.p[i] >= 'a' && s.p[i] <= 'z')
		i++;
	if (s.n == 0 || s.p[0] != '{' || i == 1 || i >= s.n || s.p[i] != '}')
		return false;
	*name = str_of(s.p + 1, i - 1);
	return true;
}

void
template_write(struct buf *out, struct str text,
	const struct template_value *values)
{
	struct str name;
	while (text.n > 0) {
		const struct template_value *v = values;
		bool named = starts_name(text, &name);
		while (named && v->name != NULL &&
			!str_eq(name, str_from(v->name)))
			v++;
		if (named && v->name != NULL)
			buf_add(out, v->text);
		else if (text.p[0] == '\n')
			buf_adds(out, "\r\n");
		else
			buf_addc(out, text.p[0]);
		text = str_skip(text, named && v->name != NULL ? name.n + 2
							       : 1);
	}
}

static bool
is_word_of(const char *words, struct str word)
{
	struct str rest = str_from(words), w;
	while (str_word(&rest, &w))
		if (str_eq(w, word))
			return true;
	return false;
}

/* -------------------------------------------------------------- reading */

struct reader {
	const char *name;
	struct buf *errors;
	int line;
	struct buf *value; /* of the entry that is being read, or NULL */
	const struct row *row;
	bool seen[TEMPLATE_TEXTS];
};

static void
complain(struct reader *r, const char *what, struct str about)
{
	buf_printf(r->errors, "%s:%d: %s%.*s\n", r->name, r->line, what,
		STR_ARG(about));
}

/* A line as it stands in the file, and as long as it may become. */
static void
check_line(struct reader *r, struct str line)
{
	size_t written = line.n;
	struct str name;
	if (line.n > r->row->most)
		complain(r, "too long: ", str_from(r->row->key));
	for (size_t i = 0; i < line.n; i++) {
		if ((unsigned char)line.p[i] < ' ' || line.p[i] == 0x7f) {
			complain(r, "a control character", STR(""));
			return;
		}
		if (!starts_name(str_skip(line, i), &name))
			continue;
		if (!is_word_of(r->row->names, name))
			complain(r, "no such name there: ", name);
		for (size_t k = 0; k < sizeof names / sizeof *names; k++)
			if (str_eq(name, str_from(names[k].name)))
				written += names[k].most;
	}
	if (written > WRITTEN_MOST)
		complain(r, "too long with its names: ",
			str_from(r->row->key));
}

static void
take_line(struct reader *r, struct str line)
{
	if (r->row == NULL)
		return; /* said where its key stands */
	check_line(r, line);
	if (r->value->n > 0)
		buf_addc(r->value, '\n');
	if (!str_eq(line, STR(".")))
		buf_add(r->value, line);
}

/* "key: the first line" */
static void
begin_entry(struct arena *a, struct reader *r, struct str line)
{
	struct str key;
	str_cut(&line, ':', &key);
	r->row = NULL;
	for (size_t i = 0; i < TEMPLATE_TEXTS && line.p != NULL; i++)
		if (str_eq(str_from(rows[i].key), str_trim(key)))
			r->row = &rows[i];
	if (r->row == NULL) {
		complain(r, line.p == NULL ? "no KEY: TEXT: " :
			"there is no ", str_head(str_trim(key), 40));
		return;
	}
	if (r->seen[r->row - rows])
		complain(r, "stands here twice: ", str_from(r->row->key));
	r->seen[r->row - rows] = true;
	r->value = buf_new(a);
	take_line(r, str_trim(line));
}

static void
continue_entry(struct reader *r, struct str line)
{
	if (r->value == NULL)
		complain(r, "continues nothing", STR(""));
	else if (r->row != NULL && !r->row->lines)
		complain(r, "is one line only: ", str_from(r->row->key));
	else
		take_line(r, line);
}

static void
end_entry(struct reader *r, struct template *t)
{
	if (r->row == NULL || r->value == NULL)
		return;
	if (r->value->n == 0)
		complain(r, "says nothing: ", str_from(r->row->key));
	t->texts[r->row - rows] = buf_str(r->value);
}

bool
template_parse(struct arena *a, struct template *t, struct str file,
	const char *name, struct buf *errors)
{
	struct reader r = {.name = name, .errors = errors};
	size_t before = errors->n;
	struct str line;
	while (str_cut(&file, '\n', &line)) {
		struct str text = str_trim(line);
		r.line++;
		if (text.n == 0 || line.p[0] == '#')
			continue;
		if (!charset_is_utf8(text)) {
			complain(&r, "is not UTF-8", STR(""));
		} else if (line.p[0] == ' ' || line.p[0] == '\t') {
			continue_entry(&r, text);
		} else {
			end_entry(&r, t);
			begin_entry(a, &r, text);
		}
	}
	end_entry(&r, t);
	return errors->n == before;
}
