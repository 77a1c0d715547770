/* SPDX-License-Identifier: ISC */
/* What a message needs of the server it is given to. */
#include "remote.h"
#include "mail/header.h"

/* Lines by their LF; a CR elsewhere than before it is bare. */
static void
look_at_lines(struct str s, struct content_facts *f)
{
	while (s.n > 0) {
		size_t n = str_find(s, '\n');
		struct str line = str_head(s, n);
		bool crlf = n < s.n && str_ends(line, STR("\r"));
		if (crlf)
			line.n--;
		else if (n < s.n)
			f->bare = true;
		if (str_has(line, '\r'))
			f->bare = true;
		if (line.n > f->longest)
			f->longest = line.n;
		s = str_skip(s, n + 1);
	}
}

struct content_facts
content_look(struct str content)
{
	struct content_facts f = {.nul = str_has(content, 0)};
	size_t header = header_length(content);
	f.eightbit_header = !str_is_ascii(str_head(content, header));
	f.eightbit_body = !str_is_ascii(str_skip(content, header));
	look_at_lines(content, &f);
	return f;
}
