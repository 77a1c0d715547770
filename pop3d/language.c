/* SPDX-License-Identifier: ISC */
/* The texts, and LANG and UTF8 (RFC 6856 2.1, 3). */
#include "pop3d.h"
#include "base/arena.h"

enum { ENGLISH, GERMAN, SPANISH, FRENCH, COLUMNS };

static const struct language languages[] = {
	{"i-default", "Default (English)", ENGLISH},
	{"en", "English", ENGLISH},
	{"de", "Deutsch", GERMAN},
	{"es", "Español", SPANISH},
	{"fr", "Français", FRENCH},
};

enum { LANGUAGES = sizeof languages / sizeof *languages };

/* clang-format off */
static const char *const texts[SAY_COUNT][COLUMNS] = {
	[SAY_NOTHING] = {"", "", "", ""},
	[SAY_READY] = {
		"surat ready",
		"surat ist bereit",
		"surat está listo",
		"surat est prêt"},
	[SAY_WELCOME] = {
		"Welcome: # messages, # octets",
		"Willkommen: # Nachrichten, # Oktette",
		"Bienvenido: # mensajes, # octetos",
		"Bienvenue : # messages, # octets"},
	[SAY_BYE] = {
		"Good bye",
		"Auf Wiedersehen",
		"Hasta luego",
		"Au revoir"},
	[SAY_DONE] = {
		"Done",
		"Erledigt",
		"Hecho",
		"Fait"},
	[SAY_CAPABILITIES] = {
		"This is what works here:",
		"Das alles geht hier:",
		"Esto es lo que funciona aquí:",
		"Voici ce qui fonctionne ici :"},
	[SAY_MECHANISMS] = {
		"Ways to log in:",
		"Arten der Anmeldung:",
		"Formas de iniciar sesión:",
		"Façons de s'identifier :"},
	[SAY_LANGUAGES] = {
		"Languages spoken here:",
		"Sprachen, die hier gesprochen werden:",
		"Idiomas que se hablan aquí:",
		"Langues parlées ici :"},
	[SAY_LANGUAGE] = {
		"I speak English now",
		"Ab jetzt auf Deutsch",
		"A partir de ahora en español",
		"Désormais en français"},
	[SAY_NO_LANGUAGE] = {
		"That language is not spoken here",
		"Diese Sprache wird hier nicht gesprochen",
		"Ese idioma no se habla aquí",
		"Cette langue n'est pas parlée ici"},
	[SAY_UTF8] = {
		"UTF-8 it is",
		"Gut, UTF-8",
		"De acuerdo, UTF-8",
		"D'accord, UTF-8"},
	[SAY_BEGIN_TLS] = {
		"Begin TLS negotiation now",
		"Jetzt TLS aushandeln",
		"Comience la negociación TLS",
		"Commencez la négociation TLS"},
	[SAY_TLS_ACTIVE] = {
		"TLS is already active",
		"TLS ist schon aktiv",
		"TLS ya está activo",
		"TLS est déjà actif"},
	[SAY_NO_TLS] = {
		"No TLS here",
		"Hier gibt es kein TLS",
		"Aquí no hay TLS",
		"Pas de TLS ici"},
	[SAY_TLS_FIRST] = {
		"Start TLS first (STLS)",
		"Zuerst TLS beginnen (STLS)",
		"Inicie primero TLS (STLS)",
		"Commencez d'abord TLS (STLS)"},
	[SAY_PASSWORD] = {
		"And the password?",
		"Und das Passwort?",
		"¿Y la contraseña?",
		"Et le mot de passe ?"},
	[SAY_REFUSED] = {
		"Wrong user name or password",
		"Name oder Passwort ist falsch",
		"Nombre o contraseña incorrectos",
		"Nom ou mot de passe incorrect"},
	[SAY_TOO_MANY_FAILURES] = {
		"Too many failed logins; good bye",
		"Zu viele gescheiterte Anmeldungen; auf Wiedersehen",
		"Demasiados intentos fallidos; hasta luego",
		"Trop d'échecs d'identification ; au revoir"},
	[SAY_NOT_NOW] = {
		"Nobody can log in now; try again later",
		"Zurzeit ist keine Anmeldung möglich; bitte später versuchen",
		"Ahora no es posible entrar; inténtelo más tarde",
		"Identification impossible pour l'instant ; réessayez plus tard"},
	[SAY_CANCELLED] = {
		"Login cancelled",
		"Anmeldung abgebrochen",
		"Inicio de sesión cancelado",
		"Identification annulée"},
	[SAY_NO_MECHANISM] = {
		"No such mechanism",
		"Dieses Verfahren gibt es nicht",
		"No existe ese mecanismo",
		"Mécanisme inconnu"},
	[SAY_NO_MAILDROP] = {
		"The mailbox cannot be opened now; try again later",
		"Das Postfach lässt sich jetzt nicht öffnen; bitte später versuchen",
		"El buzón no se puede abrir ahora; inténtelo más tarde",
		"La boîte ne peut être ouverte maintenant ; réessayez plus tard"},
	[SAY_IN_USE] = {
		"The mailbox is in use by another session",
		"Eine andere Sitzung benutzt das Postfach",
		"Otra sesión está usando el buzón",
		"La boîte est utilisée par une autre session"},
	[SAY_TOO_OFTEN] = {
		"You were here a moment ago; come back later",
		"Die letzte Anmeldung ist eben erst gewesen; bitte später",
		"Acaba de estar aquí; vuelva más tarde",
		"Vous étiez ici à l'instant ; revenez plus tard"},
	[SAY_MESSAGES] = {
		"# messages, # octets",
		"# Nachrichten, # Oktette",
		"# mensajes, # octetos",
		"# messages, # octets"},
	[SAY_OCTETS] = {
		"# octets",
		"# Oktette",
		"# octetos",
		"# octets"},
	[SAY_DELETED] = {
		"Will be deleted at the end (QUIT)",
		"Wird am Ende gelöscht (QUIT)",
		"Se borrará al final (QUIT)",
		"Sera supprimé à la fin (QUIT)"},
	[SAY_NO_MESSAGE] = {
		"No such message",
		"Diese Nachricht gibt es nicht",
		"No existe ese mensaje",
		"Ce message n'existe pas"},
	[SAY_WAS_DELETED] = {
		"You deleted that message",
		"Diese Nachricht haben Sie gelöscht",
		"Usted borró ese mensaje",
		"Vous avez supprimé ce message"},
	[SAY_GONE] = {
		"Somebody else deleted that message",
		"Diese Nachricht wurde anderswo gelöscht",
		"Ese mensaje se borró en otra sesión",
		"Ce message a été supprimé ailleurs"},
	[SAY_UNREADABLE] = {
		"That message cannot be read now; try again later",
		"Die Nachricht lässt sich jetzt nicht lesen; bitte später versuchen",
		"El mensaje no se puede leer ahora; inténtelo más tarde",
		"Ce message ne peut être lu maintenant ; réessayez plus tard"},
	[SAY_NOT_REMOVED] = {
		"The deleted messages could not be removed; they are still there",
		"Gelöschte Nachrichten ließen sich nicht entfernen; sie sind noch da",
		"No se pudieron quitar los mensajes borrados; siguen ahí",
		"Les messages supprimés n'ont pu être retirés ; ils sont encore là"},
	[SAY_UNKNOWN] = {
		"No such command",
		"Diesen Befehl gibt es nicht",
		"No existe esa orden",
		"Commande inconnue"},
	[SAY_WRONG_STATE] = {
		"Not now",
		"Nicht jetzt",
		"Ahora no",
		"Pas maintenant"},
	[SAY_NO_ARGUMENTS] = {
		"That command has no arguments",
		"Dieser Befehl hat keine Argumente",
		"Esa orden no lleva argumentos",
		"Cette commande n'a pas d'arguments"},
	[SAY_ARGUMENTS] = {
		"Those arguments make no sense",
		"Diese Argumente ergeben keinen Sinn",
		"Esos argumentos no tienen sentido",
		"Ces arguments n'ont pas de sens"},
	[SAY_LINE_TOO_LONG] = {
		"Line too long",
		"Die Zeile ist zu lang",
		"La línea es demasiado larga",
		"Ligne trop longue"},
	[SAY_TOO_MANY_ERRORS] = {
		"Too many errors; good bye",
		"Zu viele Fehler; auf Wiedersehen",
		"Demasiados errores; hasta luego",
		"Trop d'erreurs ; au revoir"},
};
/* clang-format on */

const struct language *
language_nth(size_t n)
{
	return n < LANGUAGES ? &languages[n] : NULL;
}

/* RFC 4647 3.4: subtag after subtag is taken off the end of the range, a
 * single letter with the one behind it. */
const struct language *
language_find(struct str range)
{
	if (str_eq(range, STR("*")))
		return &languages[0];
	while (range.n > 0) {
		for (size_t i = 0; i < LANGUAGES; i++)
			if (str_eq_nocase(range, str_from(languages[i].tag)))
				return &languages[i];
		size_t at = str_find_last(range, '-');
		range = str_head(range, at == range.n ? 0 : at);
		if (range.n > 1 && range.p[range.n - 2] == '-')
			range.n -= 2;
	}
	return NULL;
}

void
language_say(const struct language *l, enum say text,
	const uint64_t numbers[2], struct buf *out)
{
	struct str rest = str_from(texts[text][l->column]), piece;
	for (size_t i = 0; str_cut(&rest, '#', &piece); i++) {
		buf_add(out, piece);
		if (rest.p != NULL && i < 2)
			buf_addn(out, numbers[i]);
	}
}

/* ------------------------------------------------------------- commands */

/* Each in its own words. */
static struct pop3_reply
list_languages(struct pop3_session *s)
{
	const struct language *l;
	session_reply(s, OK(SAY_LANGUAGES));
	for (size_t i = 0; (l = language_nth(i)) != NULL; i++)
		conn_printf(s->conn, "%s %s\r\n", l->tag, l->name);
	conn_puts(s->conn, ".\r\n");
	return SAID;
}

struct pop3_reply
pop3_lang(struct pop3_session *s, struct str args)
{
	args = str_trim(args);
	if (args.n == 0)
		return list_languages(s);
	const struct language *l = language_find(args);
	if (l == NULL)
		return ERR(NULL, SAY_NO_LANGUAGE);
	s->language = l;
	struct pop3_reply r = OK(SAY_LANGUAGE);
	r.before = str_from(l->tag);
	return r;
}

/* Nothing to remember: messages go out as they are whether this was said or
 * not.  Who gets mail with UTF-8 in its header is better served by it than by
 * a refusal. */
struct pop3_reply
pop3_utf8(struct pop3_session *s, struct str args)
{
	(void)s, (void)args;
	return OK(SAY_UTF8);
}
