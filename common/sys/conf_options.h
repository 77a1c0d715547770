/* SPDX-License-Identifier: ISC */
/*
 * Every option of surat.conf, one row each:
 *
 *	OPTION(section, name, kind, default, min, max, sentence)
 *
 * From these rows come the struct conf, libconfuse's table, the checks,
 * `surat config`, and the option list of surat.conf(5).  Kinds: NUMBER, SIZE
 * (octets; k, m, g), DURATION (seconds; s, m, h, d, w), BOOL, TEXT, LIST, LINES
 * (a list whose items may hold commas).
 * min and max bound numbers, sizes (octets) and durations (seconds); 0, 0
 * means no bounds.  Defaults are written as in the file; lists as one string,
 * comma separated.  A row is added here and used; nothing else.
 *
 * Included several times: no include guard.
 */

/* -------------------------------------------------------------- general */
OPTION(general, hostname, TEXT, "", 0, 0,
	"Name of this host in greetings and trace lines; empty asks the system.")
OPTION(general, domains, LIST, "", 0, 0,
	"Domains whose users live here; an address in one is local.")
OPTION(general, users, TEXT, "/etc/surat/users", 0, 0,
	"Table of users: name, hashed password, ids, home, options.")
OPTION(general, aliases, TEXT, "/etc/surat/aliases", 0, 0,
	"Aliases, in the format of surat-aliases(5).")
OPTION(general, postmaster, TEXT, "postmaster", 0, 0,
	"Where mail for postmaster goes when no user or alias of that name is.")
OPTION(general, state, TEXT, "/var/lib/surat", 0, 0,
	"Directory of the queue and other state.")
OPTION(general, runtime, TEXT, "/run/surat", 0, 0,
	"Directory of the sockets, one subdirectory per asking program.")
OPTION(general, mail, TEXT, "/var/mail/surat", 0, 0,
	"Mail root of users who have no system account.")
OPTION(general, mbox, TEXT, "", 0, 0,
	"Directory of mbox files for users with an id of their own; empty: Maildir.")
OPTION(general, mbox_group, TEXT, "mail", 0, 0,
	"Group that may make files in the directory of mbox files.")
OPTION(general, quota, SIZE, "0", 0, 0,
	"Octets of mail an account may hold; 0 for any number.")
OPTION(general, quota_messages, NUMBER, "0", 0, 0,
	"Messages an account may hold; 0 for any number.")
OPTION(general, quota_warn, NUMBER, "90", 0, 0,
	"Percent of either at which an account counts as nearly full.")
OPTION(general, quota_defer, BOOL, "no", 0, 0,
	"Mail for a full account is to wait (452) and not to go back (552).")
OPTION(general, libexec, TEXT, "", 0, 0,
	"Where the programs lie; empty means beside suratd.")
OPTION(general, plus, TEXT, "+", 0, 0,
	"Characters that separate a user name from an address extension.")

/* --------------------------------------------------------------- listen */
OPTION(listen, smtp, LIST, "*:25", 0, 0,
	"Addresses for mail from other servers; empty for none.")
OPTION(listen, submission, LIST, "*:587", 0, 0,
	"Addresses for submission with STARTTLS.")
OPTION(listen, submissions, LIST, "*:465", 0, 0,
	"Addresses for submission under TLS from the start.")
OPTION(listen, lmtp, LIST, "", 0, 0,
	"Addresses for LMTP.")
OPTION(listen, imap, LIST, "*:143", 0, 0,
	"Addresses for IMAP with STARTTLS.")
OPTION(listen, imaps, LIST, "*:993", 0, 0,
	"Addresses for IMAP under TLS from the start.")
OPTION(listen, pop3, LIST, "*:110", 0, 0,
	"Addresses for POP3 with STLS.")
OPTION(listen, pop3s, LIST, "*:995", 0, 0,
	"Addresses for POP3 under TLS from the start.")
OPTION(listen, proxy_from, LIST, "127.0.0.0/8, ::1", 0, 0,
	"Hosts whose PROXY headers are believed, where listening says proxy.")

/* ------------------------------------------------------------------ log */
OPTION(log, target, TEXT, "syslog", 0, 0,
	"Where log lines go: syslog or stderr.")
OPTION(log, format, TEXT, "text", 0, 0,
	"Shape of log lines: text or json.")
OPTION(log, level, TEXT, "info", 0, 0,
	"Least important lines written: error, warning, info or debug.")

/* ------------------------------------------------------------------ tls */
OPTION(tls, certificate, TEXT, "", 0, 0,
	"Certificate chain, PEM; empty means no TLS for clients.")
OPTION(tls, key, TEXT, "", 0, 0,
	"Private key of the certificate, PEM, readable by root only.")
OPTION(tls, minimum, TEXT, "1.2", 0, 0,
	"Lowest TLS version spoken with clients: 1.2 or 1.3.")
OPTION(tls, roots, TEXT, "/etc/ssl/certs/ca-certificates.crt", 0, 0,
	"Certificates of the authorities trusted when a next hop is verified.")

/* ----------------------------------------------------------------- smtp */
OPTION(smtp, max_size, SIZE, "50m", 65536, 0,
	"Largest message taken.")
OPTION(smtp, max_recipients, NUMBER, "1000", 100, 100000,
	"Most recipients of one message.")
OPTION(smtp, max_processes, NUMBER, "100", 1, 10000,
	"Most SMTP clients served at once.")
OPTION(smtp, idle_processes, NUMBER, "3", 1, 1000,
	"Waiting smtpd processes kept ready.")
OPTION(smtp, max_errors, NUMBER, "10", 1, 1000,
	"Errors after which a client is sent away.")
OPTION(smtp, max_hops, NUMBER, "100", 5, 1000,
	"Received lines at which a message is taken for a loop.")
OPTION(smtp, timeout, DURATION, "5m", 5, 86400,
	"How long a client may keep silent.")
OPTION(smtp, greet_wait, DURATION, "1s", 0, 60,
	"How long a client not seen lately is watched before it is greeted.")
OPTION(smtp, dns_lists, LIST, "", 0, 0,
	"DNS lists of clients: ZONE, ZONE=ADDRESS; *WEIGHT, 1 or as given.")
OPTION(smtp, dns_threshold, NUMBER, "1", 1, 1000000,
	"Sum of weights at which a listed client is refused.")
OPTION(smtp, reverse_names, BOOL, "yes", 0, 0,
	"Look up the name of a client's address.")
OPTION(smtp, bare_newline, TEXT, "refuse", 0, 0,
	"A CR or LF that is not CRLF in a message: refuse or normalise.")
OPTION(smtp, bad_header, TEXT, "keep", 0, 0,
	"Text behind a header without an empty line: keep, insert one, refuse.")
OPTION(smtp, auth, BOOL, "no", 0, 0,
	"Let users log in on port 25 too, not only for submission.")
OPTION(smtp, plaintext_auth, BOOL, "no", 0, 0,
	"Let clients on loopback log in without TLS (SMTP, IMAP and POP3).")
OPTION(smtp, relay_networks, LIST, "", 0, 0,
	"Networks whose hosts may relay without logging in.")
OPTION(smtp, xclient_networks, LIST, "", 0, 0,
	"Hosts that may say by XCLIENT for whom they speak.")
OPTION(smtp, min_free, SIZE, "50m", 16777216, 0,
	"Free space below which no mail is taken (452).")

/* ---------------------------------------------------------------- limit */
OPTION(limit, ipv4_block, NUMBER, "24", 8, 32,
	"Leading bits of an IPv4 address that clients of one block share.")
OPTION(limit, ipv6_block, NUMBER, "64", 16, 128,
	"Leading bits of an IPv6 address that clients of one block share.")
OPTION(limit, exempt, LIST, "127.0.0.0/8, ::1", 0, 0,
	"Networks that no limit and no ban applies to.")
OPTION(limit, connections, NUMBER, "50", 1, 100000,
	"Most SMTP connections of one block at once; its share of a full IMAP, POP3.")
OPTION(limit, connection_rate, NUMBER, "300", 1, 1000000,
	"SMTP connections of one block in a minute.")
OPTION(limit, recipient_rate, NUMBER, "6000", 1, 10000000,
	"Recipients named by one block in a minute.")
OPTION(limit, account_rate, NUMBER, "6000", 1, 10000000,
	"Recipients named by one account in a minute.")
OPTION(limit, sender_rate, NUMBER, "6000", 1, 10000000,
	"Recipients named in a minute for one sender who logged in.")
OPTION(limit, error_rate, NUMBER, "100", 1, 1000000,
	"Errors of one block in a minute, after which it waits.")
OPTION(limit, pause, DURATION, "10m", 1, 86400,
	"How long a block waits after too many errors, or being too slow.")
OPTION(limit, data_rate, NUMBER, "500", 1, 1000000,
	"Octets a second a client must send, after half a minute.")

/* --------------------------------------------------------------- policy */
OPTION(policy, rules, LINES, "", 0, 0,
	"What becomes of a recipient; the first rule that fits decides.")

/* -------------------------------------------------------------- address */
OPTION(address, virtual_domains, LINES, "", 0, 0,
	"Domains whose users and aliases stand in the tables with their domain.")
OPTION(address, alias_domains, LINES, "", 0, 0,
	"Domains that have aliases only.")
OPTION(address, relay_domains, LINES, "", 0, 0,
	"Domains of others that mail is taken for and passed on: backup MX.")
OPTION(address, relay_recipients, LINES, "", 0, 0,
	"Tables of who there is in relay_domains; none: anybody.")
OPTION(address, aliases, LINES, "", 0, 0,
	"Further tables of aliases: an address, and where its mail goes.")
OPTION(address, users, LINES, "", 0, 0,
	"Further tables of users: a name, and the rest of a users line.")
OPTION(address, senders, LINES, "", 0, 0,
	"Tables that rewrite senders of our own: an address, and its new form.")
OPTION(address, masquerade, LIST, "", 0, 0,
	"Domains that stand for all hosts in them, in senders of our own.")
OPTION(address, masquerade_except, LIST, "root", 0, 0,
	"Users whose host is not hidden.")
OPTION(address, bcc, TEXT, "", 0, 0,
	"Address that gets a copy of all mail but that of the null sender.")
OPTION(address, forward, BOOL, "yes", 0, 0,
	"Obey .forward files in the homes of users.")
OPTION(address, lookup_timeout, DURATION, "5s", 1, 100,
	"How long a socketmap server may take to answer.")

/* ---------------------------------------------------------------- queue */
OPTION(queue, retry, LIST, "1m, 5m, 10m, 15m, 30m", 0, 0,
	"Delays before the first retries; then each is half as long again.")
OPTION(queue, retry_max, DURATION, "4h", 1, 604800,
	"Longest delay between two attempts.")
OPTION(queue, max_age, DURATION, "5d", 1, 0,
	"Age at which a message is returned to its sender.")
OPTION(queue, delay_notice, DURATION, "4h", 0, 0,
	"Age at which the sender hears of the delay; 0 for never.")
OPTION(queue, report_automatic, BOOL, "yes", 0, 0,
	"Lists and programs hear of failures; no: of nothing they did not ask for.")
OPTION(queue, report_languages, LIST, "en", 0, 0,
	"Languages of delivery reports, the first for the subject.")
OPTION(queue, report_templates, TEXT, "", 0, 0,
	"Directory of the words of delivery reports, a file for each language.")
OPTION(queue, checkpoint, DURATION, "1s", 0, 60,
	"Longest time between two checkpoints of delivered mail; 0 for at once.")
OPTION(queue, durability, TEXT, "batch", 0, 0,
	"Mail files: batch (one syncfs per checkpoint) or each (sync every file).")
OPTION(queue, history, DURATION, "30d", 0, 0,
	"How long finished messages can be looked up.")
OPTION(queue, local_agents, NUMBER, "2", 1, 100,
	"Local delivery agents that run at once.")
OPTION(queue, remote_agents, NUMBER, "40", 1, 1000,
	"Remote delivery agents that may run at once.")
OPTION(queue, rates, LIST, "", 0, 0,
	"Recipients a minute by destination: DOMAIN NUMBER, * for all others.")
OPTION(queue, destination_concurrency, NUMBER, "20", 1, 1000,
	"Most connections to one destination.")

/* --------------------------------------------------------------- remote */
OPTION(remote, smarthost, TEXT, "", 0, 0,
	"HOST or HOST:PORT that takes all outgoing mail; 465 means TLS at once.")
OPTION(remote, smarthost_user, TEXT, "", 0, 0,
	"User name at the smarthost.")
OPTION(remote, smarthost_password, TEXT, "", 0, 0,
	"Password at the smarthost.")
OPTION(remote, smarthost_tls, TEXT, "opportunistic", 0, 0,
	"TLS with the smarthost: none, opportunistic, required or verified.")
OPTION(remote, sender_smarthosts, LIST, "", 0, 0,
	"Smarthosts by sender: SENDER HOP, or SENDER HOP USER PASSWORD.")
OPTION(remote, transports, LIST, "", 0, 0,
	"Next hops by destination: DOMAIN HOP.")
OPTION(remote, port, NUMBER, "25", 1, 65535,
	"Port at which other mail servers are met.")
OPTION(remote, tls, TEXT, "opportunistic", 0, 0,
	"TLS with other servers: none, opportunistic, required or verified.")
OPTION(remote, tls_policies, LIST, "", 0, 0,
	"TLS by destination: DOMAIN none|opportunistic|required|verified|dane.")
OPTION(remote, dane, BOOL, "yes", 0, 0,
	"Obey TLSA records that DNSSEC proves (RFC 7672).")
OPTION(remote, helo, TEXT, "", 0, 0,
	"Name said in EHLO; empty: general.hostname.")
OPTION(remote, source, LIST, "", 0, 0,
	"Local addresses to send from, at most one of each family.")
OPTION(remote, sender_sources, LIST, "", 0, 0,
	"Local addresses by sender: SENDER ADDRESS [ADDRESS].")
OPTION(remote, prefer, TEXT, "ipv6", 0, 0,
	"Addresses tried first, or only: ipv6, ipv4, only-ipv6 or only-ipv4.")
OPTION(remote, own_addresses, LIST, "", 0, 0,
	"Further addresses that lead here (a translating router's).")
OPTION(remote, allow_loopback, BOOL, "no", 0, 0,
	"Deliver to mail exchangers on loopback and private addresses.")
OPTION(remote, chunking, BOOL, "yes", 0, 0,
	"Send messages by BDAT where the other side offers it.")
OPTION(remote, idle, DURATION, "5s", 0, 300,
	"How long a connection waits for another message.")
OPTION(remote, connect_timeout, DURATION, "30s", 1, 300,
	"How long to wait for a connection.")
OPTION(remote, greeting_timeout, DURATION, "5m", 1, 3600,
	"How long to wait for the greeting of a server.")
OPTION(remote, command_timeout, DURATION, "5m", 1, 3600,
	"How long to wait for the reply to a command.")
OPTION(remote, data_timeout, DURATION, "2m", 1, 3600,
	"How long to wait for the reply to DATA.")
OPTION(remote, block_timeout, DURATION, "3m", 1, 3600,
	"How long a block of the message may take to be sent.")
OPTION(remote, final_timeout, DURATION, "10m", 1, 3600,
	"How long to wait for the reply to a whole message.")

/* ----------------------------------------------------------------- pipe */
OPTION(pipe, commands, LINES, "", 0, 0,
	"Commands for the next hop pipe:NAME: NAME USER /PROGRAM ARGUMENT...")
OPTION(pipe, aliases, BOOL, "yes", 0, 0,
	"Obey |command in general.aliases.")
OPTION(pipe, forward, BOOL, "yes", 0, 0,
	"Obey |command in .forward files of users with an id of their own.")
OPTION(pipe, timeout, DURATION, "15m", 1, 86400,
	"How long a command may take for one message.")
OPTION(pipe, memory, SIZE, "1g", 1048576, 0,
	"Most memory of a command.")
OPTION(pipe, agents, NUMBER, "20", 1, 1000,
	"Commands that may run at once.")

/* -------------------------------------------------------------- resolve */
OPTION(resolve, forward, LIST, "", 0, 0,
	"Name servers to ask, ADDRESS or ADDRESS@PORT; empty: /etc/resolv.conf.")
OPTION(resolve, recursive, BOOL, "no", 0, 0,
	"Walk from the root servers instead of asking a name server.")
OPTION(resolve, trust_anchor, TEXT, "/usr/share/dns/root.key", 0, 0,
	"DNSSEC trust anchor.")
OPTION(resolve, timeout, DURATION, "10s", 1, 60,
	"How long one question may take.")

/* ----------------------------------------------------------------- auth */
OPTION(auth, max_failures, NUMBER, "5", 1, 100,
	"Failed logins of one connection before it is closed.")
OPTION(auth, failure_delay, DURATION, "2s", 0, 60,
	"Pause before a failed login is answered.")
OPTION(auth, ban_after, NUMBER, "10", 1, 100000,
	"Failed logins of one account or client block that make it wait.")
OPTION(auth, ban_window, DURATION, "10m", 1, 86400,
	"Time within which failed logins add up.")
OPTION(auth, ban, DURATION, "15m", 1, 604800,
	"How long an account or client block with too many failures waits.")
OPTION(auth, scram, TEXT, "auto", 0, 0,
	"Offer SCRAM: yes, no, or auto: when every user's secret allows it.")
OPTION(auth, weak_hashes, BOOL, "no", 0, 0,
	"Let users in whose stored hash is weak: MD5, DES, plain digests.")
OPTION(auth, hash_workers, NUMBER, "2", 1, 64,
	"Processes that check password hashes at once.")
OPTION(auth, pam, TEXT, "", 0, 0,
	"PAM service that is asked for people of the system; empty: none.")
OPTION(auth, cache, DURATION, "5m", 0, 86400,
	"How long a right password is remembered (as a keyed hash, in memory).")

/* ----------------------------------------------------------- imap, pop3 */
OPTION(imap, max_processes, NUMBER, "1000", 1, 100000,
	"Most IMAP sessions at once.")
OPTION(imap, idle_processes, NUMBER, "2", 1, 1000,
	"Waiting imapd processes kept ready.")
OPTION(imap, timeout, DURATION, "30m", 60, 86400,
	"How long a logged-in client may keep silent.")
OPTION(imap, progress, DURATION, "10s", 0, 3600,
	"When and how often a long command says how far it is.")
OPTION(imap, max_message, SIZE, "50m", 65536, 0,
	"Largest message taken by APPEND.")
OPTION(imap, hide, LIST, "", 0, 0,
	"Capabilities kept from clients: NETWORK NAME..., * for every client.")
OPTION(pop3, max_processes, NUMBER, "200", 1, 100000,
	"Most POP3 sessions at once.")
OPTION(pop3, idle_processes, NUMBER, "1", 1, 1000,
	"Waiting pop3d processes kept ready.")
OPTION(pop3, timeout, DURATION, "10m", 60, 86400,
	"How long a client may keep silent.")
OPTION(pop3, mark_seen, BOOL, "yes", 0, 0,
	"A message downloaded by POP3 counts as read elsewhere.")
OPTION(pop3, exclusive, BOOL, "no", 0, 0,
	"Refuse a POP3 session while another one has the mailbox ([IN-USE]).")
OPTION(pop3, login_delay, DURATION, "0", 0, 86400,
	"Least time between two POP3 logins of a user ([LOGIN-DELAY]).")
