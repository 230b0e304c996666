/*
 * gssclient: a DNS client that negotiates a key by TKEY (RFC 2930, RFC 3645) and signs and verifies by TSIG (RFC 8945),
 * with MIT's GSSAPI library doing all of the cryptography. It shares no code with the server under test, so that both
 * being wrong in the same way goes unnoticed nowhere. Unlike nsupdate it also verifies the signature of the TKEY reply.
 *
 * Usage: gssclient ADDRESS PORT SERVICE [OPTION=VALUE]...
 *   SERVICE is a Kerberos principal, such as DNS/ns1.example.test@EXAMPLE.TEST.
 *   mech=krb5|spnego     raw Kerberos, or SPNEGO as MIT's library speaks it
 *   mech=spnego-ms|spnego-other|spnego-bare    SPNEGO framed here, as other initiators do it: Microsoft's OID for
 *                        Kerberos first, with a token (Windows, Samba); NTLM first, with its token; Kerberos without a
 *                        token. The last two need more rounds, and the second a mechListMIC both ways (RFC 4178 5)
 *   mutual=1|0           ask for mutual authentication
 *   algorithm=NAME       gss-tsig. or gss.microsoft.com.
 *   section=additional|answer                  where the TKEY record goes
 *   class=255|1          class of the TKEY question and record
 *   name=NAME            key name; "." lets the server choose
 *   lifetime=SECONDS     asked for
 *   udpsize=OCTETS       announce by EDNS what this side can receive by UDP (RFC 6891)
 *
 * It then reads commands, one a line, and answers each with one line of key=value words:
 *   negotiate udp|tcp
 *   send udp|tcp [skew=SECONDS] [corrupt=1] [key=NAME] HEX     signs the DNS message HEX and sends it
 *   replay udp|tcp                                             sends the last signed message again, octet for octet
 *   delete udp|tcp                                             TKEY mode 5, signed by the key
 * A line that begins with "fail" says what went wrong on this side.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>

enum { MAX_MESSAGE = 65535, MAX_NAME = 255, HEADER = 12 };
enum { TYPE_OPT = 41, TYPE_TKEY = 249, TYPE_TSIG = 250, CLASS_ANY = 255 };
enum { MODE_GSSAPI = 3, MODE_DELETE = 5, MAX_ROUNDS = 8, FUDGE = 300, TIMEOUT_SECONDS = 10 };

struct buffer {
	unsigned char octets[MAX_MESSAGE * 2];
	size_t length;
};

static struct sockaddr_in server;
static gss_name_t target;
static gss_ctx_id_t context = GSS_C_NO_CONTEXT;
static gss_OID mechanism;
static OM_uint32 request_flags = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_INTEG_FLAG;
static const char *algorithm = "gss-tsig.";
static const char *section = "additional";
static unsigned tkey_class = CLASS_ANY;
static uint32_t asked_lifetime = 3600;
static unsigned udp_size; /* 0: no EDNS */
static unsigned char key_name[MAX_NAME];
static size_t key_name_length;

static unsigned char request_mac[1024]; /* MAC of the last signed request; RFC 8945 5.3 puts it into the reply's digest */
static size_t request_mac_length;
static struct buffer last_signed;

/* Object identifiers, as DER contents. */
static gss_OID_desc oid_krb5 = { 9, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02" };
static gss_OID_desc oid_krb5_microsoft = { 9, "\x2a\x86\x48\x82\xf7\x12\x01\x02\x02" };
static gss_OID_desc oid_spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };
static gss_OID_desc oid_ntlm = { 10, "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a" };

/* Negotiation states of RFC 4178 4.2.2. */
enum { ACCEPT_COMPLETED = 0, ACCEPT_INCOMPLETE = 1, REJECT = 2, REQUEST_MIC = 3 };

/* framing is the state of a SPNEGO negotiation that is framed here; the library knows only the Kerberos below it. */
static struct {
	gss_OID first;        /* NULL: the library frames the tokens, or they have no frame */
	int with_token;       /* the first token carries one of the first mechanism */
	int established;      /* the Kerberos below takes no more tokens */
	int mic_needed, mic_sent, mic_verified;
	struct buffer mechanisms; /* the MechTypeList that the mechListMICs cover */
} framing;

static void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fprintf(stderr, "gssclient: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(2);
}

static void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	printf("fail ");
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
}

static void put(struct buffer *b, const void *octets, size_t length)
{
	if (length > sizeof b->octets - b->length)
		die("message too long");
	if (length > 0)
		memcpy(b->octets + b->length, octets, length);
	b->length += length;
}

static void put16(struct buffer *b, unsigned value)
{
	unsigned char octets[2] = { value >> 8, value };
	put(b, octets, 2);
}

static void put32(struct buffer *b, uint32_t value)
{
	put16(b, value >> 16);
	put16(b, value & 0xffff);
}

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void set16(unsigned char *p, unsigned value)
{
	p[0] = value >> 8;
	p[1] = value;
}

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* name_from_text writes an absolute name without escapes in canonical wire form, and returns its length. */
static size_t name_from_text(const char *text, unsigned char *out)
{
	size_t length = 0;
	while (*text != 0 && strcmp(text, ".") != 0) {
		const char *dot = strchr(text, '.');
		size_t label = dot ? (size_t)(dot - text) : strlen(text);
		if (label == 0 || label > 63 || length + label + 2 > MAX_NAME)
			die("bad name");
		out[length++] = label;
		for (size_t i = 0; i < label; i++)
			out[length++] = lower(text[i]);
		text += label + (dot != NULL);
	}
	out[length++] = 0;
	return length;
}

static void text_from_name(const unsigned char *name, char *out)
{
	if (*name == 0)
		*out++ = '.';
	for (; *name != 0; name += *name + 1) {
		memcpy(out, name + 1, *name);
		out += *name;
		*out++ = '.';
	}
	*out = 0;
}

/*
 * read_name expands the possibly compressed name at *offset into canonical wire form, moves *offset behind it, and
 * returns the length, or 0 when the name is malformed.
 */
static size_t read_name(const unsigned char *message, size_t length, size_t *offset, unsigned char *out)
{
	size_t at = *offset, used = 0;
	int jumps = 0;
	for (;;) {
		if (at >= length)
			return 0;
		unsigned char c = message[at];
		if ((c & 0xc0) == 0xc0) {
			if (at + 2 > length || ++jumps > 64)
				return 0;
			size_t to = (size_t)(c & 0x3f) << 8 | message[at + 1];
			if (jumps == 1)
				*offset = at + 2;
			at = to;
			continue;
		}
		if (c > 63 || at + 1 + c > length || used + 1 + c > MAX_NAME)
			return 0;
		out[used++] = c;
		for (unsigned i = 0; i < c; i++)
			out[used++] = lower(message[at + 1 + i]);
		at += 1 + c;
		if (c == 0)
			break;
	}
	if (jumps == 0)
		*offset = at;
	return used;
}

struct record {
	size_t start; /* of the owner name */
	unsigned type, class;
	unsigned char name[MAX_NAME];
	size_t name_length;
	size_t data, data_length;
};

static int read_record(const struct buffer *m, size_t *offset, struct record *r)
{
	r->start = *offset;
	r->name_length = read_name(m->octets, m->length, offset, r->name);
	if (r->name_length == 0 || *offset + 10 > m->length)
		return 0;
	r->type = get16(m->octets + *offset);
	r->class = get16(m->octets + *offset + 2);
	r->data_length = get16(m->octets + *offset + 8);
	r->data = *offset + 10;
	if (r->data + r->data_length > m->length)
		return 0;
	*offset = r->data + r->data_length;
	return 1;
}

struct tkey {
	int present;
	uint32_t inception, expiration;
	unsigned mode, error;
	const unsigned char *token;
	size_t token_length;
	unsigned char name[MAX_NAME];
	size_t name_length;
	char algorithm[MAX_NAME * 4];
};

struct tsig {
	int present;
	size_t start;
	unsigned char name[MAX_NAME], algorithm[MAX_NAME];
	size_t name_length, algorithm_length;
	const unsigned char *time_and_fudge; /* 8 octets */
	const unsigned char *mac, *other;
	size_t mac_length, other_length;
	unsigned original_id, error;
};

static int read_tkey(const struct buffer *m, const struct record *r, struct tkey *t)
{
	size_t at = r->data, end = r->data + r->data_length;
	unsigned char name[MAX_NAME];
	if (read_name(m->octets, end, &at, name) == 0 || at + 14 > end)
		return 0;
	text_from_name(name, t->algorithm);
	t->inception = get32(m->octets + at);
	t->expiration = get32(m->octets + at + 4);
	t->mode = get16(m->octets + at + 8);
	t->error = get16(m->octets + at + 10);
	t->token_length = get16(m->octets + at + 12);
	t->token = m->octets + at + 14;
	if (at + 14 + t->token_length + 2 > end)
		return 0;
	memcpy(t->name, r->name, r->name_length);
	t->name_length = r->name_length;
	t->present = 1;
	return 1;
}

static int read_tsig(const struct buffer *m, const struct record *r, struct tsig *t)
{
	size_t at = r->data, end = r->data + r->data_length;
	t->start = r->start;
	memcpy(t->name, r->name, r->name_length);
	t->name_length = r->name_length;
	t->algorithm_length = read_name(m->octets, end, &at, t->algorithm);
	if (t->algorithm_length == 0 || at + 10 > end)
		return 0;
	t->time_and_fudge = m->octets + at;
	t->mac_length = get16(m->octets + at + 8);
	t->mac = m->octets + at + 10;
	at += 10 + t->mac_length;
	if (at + 6 > end)
		return 0;
	t->original_id = get16(m->octets + at);
	t->error = get16(m->octets + at + 2);
	t->other_length = get16(m->octets + at + 4);
	t->other = m->octets + at + 6;
	if (at + 6 + t->other_length != end)
		return 0;
	t->present = 1;
	return 1;
}

/* read_reply finds the TKEY record in the answer section and the TSIG record, which must be the last of all. */
static const char *read_reply(const struct buffer *m, struct tkey *tkey, struct tsig *tsig)
{
	tkey->present = tsig->present = 0;
	if (m->length < HEADER)
		return "the reply is shorter than a header";
	size_t offset = HEADER;
	unsigned char name[MAX_NAME];
	for (unsigned i = 0; i < get16(m->octets + 4); i++) {
		if (read_name(m->octets, m->length, &offset, name) == 0 || offset + 4 > m->length)
			return "malformed question in the reply";
		offset += 4;
	}
	unsigned answers = get16(m->octets + 6);
	unsigned records = answers + get16(m->octets + 8) + get16(m->octets + 10);
	for (unsigned i = 0; i < records; i++) {
		struct record r;
		if (!read_record(m, &offset, &r))
			return "malformed record in the reply";
		if (tsig->present)
			return "a record follows TSIG in the reply";
		if (r.type == TYPE_TKEY && i < answers && !read_tkey(m, &r, tkey))
			return "malformed TKEY record in the reply";
		if (r.type == TYPE_TSIG && !read_tsig(m, &r, tsig))
			return "malformed TSIG record in the reply";
	}
	return offset == m->length ? NULL : "octets follow the reply's last record";
}

static const char *gss_failure(OM_uint32 major, OM_uint32 minor)
{
	static char text[1024];
	OM_uint32 ignored, more = 0;
	gss_buffer_desc part;
	text[0] = 0;
	for (int i = 0; i < 2; i++) {
		OM_uint32 value = i == 0 ? major : minor;
		int type = i == 0 ? GSS_C_GSS_CODE : GSS_C_MECH_CODE;
		gss_display_status(&ignored, value, type, i == 0 ? GSS_C_NO_OID : mechanism, &more, &part);
		size_t used = strlen(text);
		snprintf(text + used, sizeof text - used, "%s%.*s", i == 0 ? "" : "; ", (int)part.length,
			 (char *)part.value);
		gss_release_buffer(&ignored, &part);
		more = 0;
	}
	return text;
}

/*
 * put_digest appends what RFC 8945 4.3 calls the digest components: the request's MAC (replies only), the message
 * without its TSIG record, and the TSIG variables.
 */
static void put_digest(struct buffer *digest, const unsigned char *prior, size_t prior_length, const struct buffer *message,
		       const struct tsig *t)
{
	digest->length = 0;
	if (prior_length > 0) {
		put16(digest, prior_length);
		put(digest, prior, prior_length);
	}
	put(digest, message->octets, message->length);
	put(digest, t->name, t->name_length);
	put16(digest, CLASS_ANY);
	put32(digest, 0);
	put(digest, t->algorithm, t->algorithm_length);
	put(digest, t->time_and_fudge, 8);
	put16(digest, t->error);
	put16(digest, t->other_length);
	put(digest, t->other, t->other_length);
}

/* verify says what the reply's signature is worth: ok, none (no TSIG), empty (TSIG without MAC), or bad. */
static const char *verify(const struct buffer *reply, const struct tsig *t, const unsigned char *prior, size_t prior_length)
{
	static struct buffer stripped, digest;
	if (!t->present)
		return "none";
	if (t->mac_length == 0)
		return "empty";
	stripped.length = 0;
	put(&stripped, reply->octets, t->start);
	set16(stripped.octets, t->original_id);
	set16(stripped.octets + 10, get16(stripped.octets + 10) - 1);
	put_digest(&digest, prior, prior_length, &stripped, t);
	gss_buffer_desc data = { digest.length, digest.octets };
	gss_buffer_desc mac = { t->mac_length, (void *)t->mac };
	OM_uint32 minor;
	OM_uint32 major = gss_verify_mic(&minor, context, &data, &mac, NULL);
	if (major != GSS_S_COMPLETE)
		return "bad";
	if (t->name_length != key_name_length || memcmp(t->name, key_name, key_name_length) != 0)
		return "foreign-key";
	return "ok";
}

/* sign appends a TSIG record to the message and remembers the MAC. */
static int sign(struct buffer *message, long skew, int corrupt, const char *other_key)
{
	static struct buffer digest;
	struct tsig t = { .time_and_fudge = NULL };
	unsigned char time_and_fudge[8];
	uint64_t now = (uint64_t)(time(NULL) + skew);
	set16(time_and_fudge, now >> 32);
	set16(time_and_fudge + 2, now >> 16);
	set16(time_and_fudge + 4, now);
	set16(time_and_fudge + 6, FUDGE);
	t.time_and_fudge = time_and_fudge;
	if (other_key != NULL) {
		t.name_length = name_from_text(other_key, t.name);
	} else {
		memcpy(t.name, key_name, key_name_length);
		t.name_length = key_name_length;
	}
	t.algorithm_length = name_from_text(algorithm, t.algorithm);
	put_digest(&digest, NULL, 0, message, &t);
	gss_buffer_desc data = { digest.length, digest.octets }, mac;
	OM_uint32 minor;
	OM_uint32 major = gss_get_mic(&minor, context, GSS_C_QOP_DEFAULT, &data, &mac);
	if (major != GSS_S_COMPLETE) {
		fail("gss_get_mic: %s", gss_failure(major, minor));
		return 0;
	}
	if (mac.length > sizeof request_mac)
		die("a MAC of %zu octets", mac.length);
	if (corrupt)
		((unsigned char *)mac.value)[mac.length - 1] ^= 1;
	memcpy(request_mac, mac.value, mac.length);
	request_mac_length = mac.length;
	unsigned id = get16(message->octets);
	put(message, t.name, t.name_length);
	put16(message, TYPE_TSIG);
	put16(message, CLASS_ANY);
	put32(message, 0);
	put16(message, t.algorithm_length + 16 + mac.length);
	put(message, t.algorithm, t.algorithm_length);
	put(message, time_and_fudge, 8);
	put16(message, mac.length);
	put(message, mac.value, mac.length);
	put16(message, id);
	put16(message, 0);
	put16(message, 0);
	set16(message->octets + 10, get16(message->octets + 10) + 1);
	gss_release_buffer(&minor, &mac);
	last_signed = *message;
	return 1;
}

static int read_fully(int fd, unsigned char *p, size_t length)
{
	while (length > 0) {
		ssize_t n = read(fd, p, length);
		if (n <= 0)
			return 0;
		p += n;
		length -= n;
	}
	return 1;
}

static int exchange(const char *transport, const struct buffer *request, struct buffer *reply)
{
	int tcp = strcmp(transport, "tcp") == 0;
	int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (request->length > MAX_MESSAGE)
		die("the request is longer than DNS allows");
	const char *problem = NULL;
	if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) {
		problem = "connect";
	} else if (tcp) {
		static struct buffer framed;
		unsigned char prefix[2];
		framed.length = 0;
		put16(&framed, request->length);
		put(&framed, request->octets, request->length);
		if (write(fd, framed.octets, framed.length) != (ssize_t)framed.length)
			problem = "write";
		else if (!read_fully(fd, prefix, 2))
			problem = "read";
		else if (reply->length = get16(prefix), !read_fully(fd, reply->octets, reply->length))
			problem = "read";
	} else {
		if (send(fd, request->octets, request->length, 0) != (ssize_t)request->length) {
			problem = "send";
		} else {
			ssize_t n = recv(fd, reply->octets, MAX_MESSAGE, 0);
			if (n < 0)
				problem = "receive";
			else
				reply->length = n;
		}
	}
	if (problem != NULL)
		fail("%s over %s: %s", problem, transport, errno == EAGAIN ? "no reply in time" : strerror(errno));
	close(fd);
	if (problem == NULL && (reply->length < HEADER || memcmp(reply->octets, request->octets, 2) != 0)) {
		fail("the reply has another message ID");
		return 0;
	}
	return problem == NULL;
}

static unsigned random16(void)
{
	unsigned char octets[2];
	FILE *f = fopen("/dev/urandom", "r");
	if (f == NULL || fread(octets, 1, 2, f) != 2)
		die("/dev/urandom: %s", strerror(errno));
	fclose(f);
	return get16(octets);
}

static void put_tkey_query(struct buffer *m, unsigned mode, const void *token, size_t token_length)
{
	int in_answer = strcmp(section, "answer") == 0;
	unsigned char algorithm_name[MAX_NAME];
	size_t algorithm_length = name_from_text(algorithm, algorithm_name);
	uint32_t now = (uint32_t)time(NULL);
	m->length = 0;
	put16(m, random16());
	put16(m, 0);
	put16(m, 1);
	put16(m, in_answer);
	put16(m, 0);
	put16(m, !in_answer + (udp_size > 0));
	put(m, key_name, key_name_length);
	put16(m, TYPE_TKEY);
	put16(m, tkey_class);
	put(m, key_name, key_name_length);
	put16(m, TYPE_TKEY);
	put16(m, tkey_class);
	put32(m, 0);
	put16(m, algorithm_length + 16 + token_length);
	put(m, algorithm_name, algorithm_length);
	put32(m, now);
	put32(m, asked_lifetime == 0 ? 0 : now + asked_lifetime);
	put16(m, mode);
	put16(m, 0);
	put16(m, token_length);
	put(m, token, token_length);
	put16(m, 0);
	if (udp_size > 0) {
		put(m, "", 1);
		put16(m, TYPE_OPT);
		put16(m, udp_size);
		put32(m, 0);
		put16(m, 0);
	}
}

/* message_key_type is the encryption type of the key that MICs are made with (a subkey where there is one), or 0. */
static unsigned long message_key_type(void)
{
	/* GSS_C_INQ_SSPI_SESSION_KEY answers with the key and with an OID whose last arc is the encryption type. */
	gss_buffer_set_t set = GSS_C_NO_BUFFER_SET;
	OM_uint32 minor;
	unsigned long type = 0;
	if (gss_inquire_sec_context_by_oid(&minor, context, GSS_C_INQ_SSPI_SESSION_KEY, &set) == GSS_S_COMPLETE &&
	    set->count == 2 && set->elements[1].length > 0)
		type = ((unsigned char *)set->elements[1].value)[set->elements[1].length - 1];
	gss_release_buffer_set(&minor, &set);
	return type;
}

/* put_der appends a DER element. */
static void put_der(struct buffer *b, unsigned tag, const void *contents, size_t length)
{
	unsigned char head[4] = { tag, length };
	size_t used = 2;
	if (length > 0xffff)
		die("a DER element of %zu octets", length);
	if (length > 0xff) {
		head[1] = 0x82;
		set16(head + 2, length);
		used = 4;
	} else if (length > 0x7f) {
		head[1] = 0x81;
		head[2] = length;
		used = 3;
	}
	put(b, head, used);
	put(b, contents, length);
}

/* put_octets appends a context tag with an OCTET STRING in it, unless there is nothing to put. */
static void put_octets(struct buffer *b, unsigned tag, const gss_buffer_desc *octets)
{
	static struct buffer inner;
	if (octets->length == 0)
		return;
	inner.length = 0;
	put_der(&inner, 0x04, octets->value, octets->length);
	put_der(b, tag, inner.octets, inner.length);
}

/* get_der reads the element at *p, which must end before end, and moves *p behind it; 0 when it is malformed. */
static int get_der(const unsigned char **p, const unsigned char *end, unsigned *tag, gss_buffer_desc *contents)
{
	if (end - *p < 2)
		return 0;
	*tag = (*p)[0];
	size_t length = (*p)[1];
	*p += 2;
	if (length > 0x7f) {
		size_t octets = length & 0x7f;
		if (octets < 1 || octets > 2 || (size_t)(end - *p) < octets)
			return 0;
		length = octets == 1 ? (*p)[0] : get16(*p);
		*p += octets;
	}
	if ((size_t)(end - *p) < length)
		return 0;
	contents->value = (void *)*p;
	contents->length = length;
	*p += length;
	return 1;
}

/* frame_first wraps the mechanism's token (possibly empty) into a NegTokenInit. */
static void frame_first(const gss_buffer_desc *token, struct buffer *out)
{
	static struct buffer list, fields, sequence, choice, inner;
	struct { gss_OID oid; } offered[2] = { { framing.first }, { &oid_krb5 } };
	list.length = fields.length = sequence.length = choice.length = inner.length = framing.mechanisms.length = 0;
	for (int i = framing.first == &oid_krb5; i < 2; i++)
		put_der(&list, 0x06, offered[i].oid->elements, offered[i].oid->length);
	put_der(&framing.mechanisms, 0x30, list.octets, list.length);
	put_der(&fields, 0xa0, framing.mechanisms.octets, framing.mechanisms.length);
	put_octets(&fields, 0xa2, token);
	put_der(&sequence, 0x30, fields.octets, fields.length);
	put_der(&choice, 0xa0, sequence.octets, sequence.length);
	put_der(&inner, 0x06, oid_spnego.elements, oid_spnego.length);
	put(&inner, choice.octets, choice.length);
	out->length = 0;
	put_der(out, 0x60, inner.octets, inner.length);
}

/* frame_next wraps the mechanism's token and a mechListMIC, each possibly empty, into a NegTokenResp. */
static void frame_next(const gss_buffer_desc *token, const gss_buffer_desc *mic, struct buffer *out)
{
	static struct buffer fields, sequence;
	fields.length = sequence.length = out->length = 0;
	put_octets(&fields, 0xa2, token);
	put_octets(&fields, 0xa3, mic);
	put_der(&sequence, 0x30, fields.octets, fields.length);
	put_der(out, 0xa1, sequence.octets, sequence.length);
}

struct response {
	int state;
	gss_buffer_desc mechanism, token, mic;
};

static int read_response(const gss_buffer_desc *in, struct response *r)
{
	const unsigned char *p = in->value, *end = p + in->length;
	gss_buffer_desc choice, sequence, field;
	unsigned tag, inner;
	memset(r, 0, sizeof *r);
	r->state = -1;
	if (!get_der(&p, end, &tag, &choice) || tag != 0xa1 || p != end)
		return 0;
	p = choice.value;
	if (!get_der(&p, p + choice.length, &tag, &sequence) || tag != 0x30)
		return 0;
	p = sequence.value;
	end = p + sequence.length;
	while (p < end) {
		gss_buffer_desc value;
		if (!get_der(&p, end, &tag, &field))
			return 0;
		const unsigned char *q = field.value;
		if (!get_der(&q, q + field.length, &inner, &value))
			return 0;
		if (tag == 0xa0 && inner == 0x0a && value.length == 1)
			r->state = *(unsigned char *)value.value;
		else if (tag == 0xa1 && inner == 0x06)
			r->mechanism = value;
		else if (tag == 0xa2 && inner == 0x04)
			r->token = value;
		else if (tag == 0xa3 && inner == 0x04)
			r->mic = value;
		else
			return 0;
	}
	return 1;
}

static OM_uint32 init_context(OM_uint32 *minor, gss_ctx_id_t *fresh, gss_buffer_t in, gss_buffer_t out, OM_uint32 *flags)
{
	return gss_init_sec_context(minor, GSS_C_NO_CREDENTIAL, fresh, target, mechanism, request_flags, 0,
				    GSS_C_NO_CHANNEL_BINDINGS, in, NULL, out, flags, NULL);
}

/* finished tells whether the server may end the negotiation here, and says so when it may not. */
static int finished(void)
{
	if (framing.established && framing.mic_needed == framing.mic_verified)
		return 1;
	fail("the negotiation ended too early: established %d, mechListMIC needed %d, verified %d", framing.established,
	     framing.mic_needed, framing.mic_verified);
	return 0;
}

/*
 * step takes the server's token (none at first) and gives the next one to send. It returns 1 when the negotiation is
 * complete, 0 when a token is to be sent, and -1 after printing why it failed.
 */
static int step(gss_ctx_id_t *fresh, gss_buffer_t in, struct buffer *out, OM_uint32 *flags)
{
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER, mic = GSS_C_EMPTY_BUFFER, input = *in;
	struct response r = { .state = ACCEPT_INCOMPLETE };
	OM_uint32 minor, ignored, major;
	int first = *fresh == GSS_C_NO_CONTEXT && in->length == 0;

	out->length = 0;
	if (first) {
		framing.established = framing.mic_needed = framing.mic_sent = framing.mic_verified = 0;
		framing.mechanisms.length = 0;
		if (framing.first != NULL && !framing.with_token) {
			frame_first(&token, out);
			return 0;
		}
		if (framing.first == &oid_ntlm) {
			gss_buffer_desc ntlm = { 16, "NTLMSSP\0\1\0\0\0\0\0\0" };
			frame_first(&ntlm, out);
			return 0;
		}
	} else if (framing.first != NULL) {
		if (!read_response(in, &r)) {
			fail("malformed SPNEGO response");
			return -1;
		}
		if (r.state == REJECT) {
			fail("SPNEGO rejected");
			return -1;
		}
		if (r.mechanism.length > 0 && (r.mechanism.length != framing.first->length ||
					       memcmp(r.mechanism.value, framing.first->elements, r.mechanism.length) != 0))
			framing.mic_needed = 1;
		input = r.token;
	}
	if (!framing.established) {
		major = init_context(&minor, fresh, &input, &token, flags);
		if (GSS_ERROR(major)) {
			fail("gss_init_sec_context: %s", gss_failure(major, minor));
			return -1;
		}
		framing.established = major == GSS_S_COMPLETE;
	}
	if (framing.first == NULL) {
		put(out, token.value, token.length);
		gss_release_buffer(&ignored, &token);
		return framing.established && out->length == 0;
	}
	gss_buffer_desc mechanisms = { framing.mechanisms.length, framing.mechanisms.octets };
	if (r.mic.length > 0) {
		major = gss_verify_mic(&minor, *fresh, &mechanisms, &r.mic, NULL);
		if (major != GSS_S_COMPLETE) {
			fail("mechListMIC: %s", gss_failure(major, minor));
			return -1;
		}
		framing.mic_verified = 1;
	}
	if (r.state == ACCEPT_COMPLETED) {
		return finished() ? 1 : -1;
	}
	if (framing.established && framing.mic_needed && !framing.mic_sent) {
		major = gss_get_mic(&minor, *fresh, GSS_C_QOP_DEFAULT, &mechanisms, &mic);
		if (major != GSS_S_COMPLETE) {
			fail("gss_get_mic: %s", gss_failure(major, minor));
			return -1;
		}
		framing.mic_sent = 1;
	}
	if (first)
		frame_first(&token, out);
	else if (token.length > 0 || mic.length > 0)
		frame_next(&token, &mic, out);
	gss_release_buffer(&ignored, &token);
	gss_release_buffer(&ignored, &mic);
	if (out->length == 0) {
		fail("the server waits for a token that there is none of");
		return -1;
	}
	return 0;
}

/* print_reason prints what this library reads in the server's token of a refusal, in one word; nothing if there is none. */
static void print_reason(gss_ctx_id_t *fresh, const struct tkey *tkey)
{
	gss_buffer_desc in = { tkey->token_length, (void *)tkey->token }, out = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, minor, major, flags;
	struct response r;

	if (in.length > 0 && framing.first != NULL) {
		if (!read_response(&in, &r))
			return;
		in = r.token;
	}
	if (in.length == 0 || framing.established)
		return;
	major = init_context(&minor, fresh, &in, &out, &flags);
	if (major == GSS_S_CONTINUE_NEEDED && out.length > 0) {
		/* MIT's SPNEGO sends a reject of its own first, and tells the reason when asked again. */
		gss_buffer_desc nothing = GSS_C_EMPTY_BUFFER;
		gss_release_buffer(&ignored, &out);
		major = init_context(&minor, fresh, &nothing, &out, &flags);
	}
	gss_release_buffer(&ignored, &out);
	if (!GSS_ERROR(major))
		return;
	printf(" reason=");
	for (const char *c = gss_failure(major, minor); *c != 0; c++)
		putchar(*c == ' ' || *c == '\n' ? '_' : *c);
}

static void negotiate(const char *transport)
{
	static struct buffer query, reply, token;
	struct tkey tkey = { .present = 0 };
	struct tsig tsig = { .present = 0 };
	gss_buffer_desc in = GSS_C_EMPTY_BUFFER;
	gss_ctx_id_t fresh = GSS_C_NO_CONTEXT;
	OM_uint32 ignored, flags = 0;
	int rounds = 0;

	for (;;) {
		int done = step(&fresh, &in, &token, &flags);
		if (done < 0)
			return;
		if (done)
			break;
		if (++rounds > MAX_ROUNDS) {
			fail("no context after %d rounds", MAX_ROUNDS);
			return;
		}
		put_tkey_query(&query, MODE_GSSAPI, token.octets, token.length);
		if (!exchange(transport, &query, &reply))
			return;
		const char *problem = read_reply(&reply, &tkey, &tsig);
		if (problem != NULL) {
			fail("%s", problem);
			return;
		}
		unsigned rcode = reply.octets[3] & 15;
		if (rcode != 0 || !tkey.present || tkey.error != 0) {
			printf("ok established=0 rcode=%u tkey=%d error=%u tc=%d rounds=%d", rcode, tkey.present,
			       tkey.present ? tkey.error : 0, (reply.octets[2] & 2) != 0, rounds);
			if (tkey.present)
				print_reason(&fresh, &tkey);
			putchar('\n');
			/* The context of an earlier negotiation stays in use. */
			gss_delete_sec_context(&ignored, &fresh, GSS_C_NO_BUFFER);
			return;
		}
		if (key_name_length == 1) { /* the server chose a name */
			memcpy(key_name, tkey.name, tkey.name_length);
			key_name_length = tkey.name_length;
		}
		in.value = (void *)tkey.token;
		in.length = tkey.token_length;
		/*
		 * A server that is done and has no token in return (raw Kerberos without mutual authentication; a last
		 * mechListMIC) sends back the token it got (RFC 3645 4.1.3), or none.
		 */
		if (in.length == 0 || (in.length == token.length && memcmp(in.value, token.octets, in.length) == 0)) {
			if (!finished())
				return;
			break;
		}
	}
	if (context != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&ignored, &context, GSS_C_NO_BUFFER);
	context = fresh;
	char name[MAX_NAME * 4];
	text_from_name(key_name, name);
	printf("ok established=1 rcode=0 error=0 tc=0 rounds=%d mic=%s name=%s algorithm=%s mode=%u inception=%lu "
	       "expiration=%lu mutual=%d keytype=%lu mechlistmic=%d\n",
	       rounds, verify(&reply, &tsig, NULL, 0), name, tkey.algorithm, tkey.mode, (unsigned long)tkey.inception,
	       (unsigned long)tkey.expiration, (flags & GSS_C_MUTUAL_FLAG) != 0, message_key_type(), framing.mic_verified);
}

static void report(const char *transport, const struct buffer *request)
{
	static struct buffer reply;
	struct tkey tkey = { .present = 0 };
	struct tsig tsig = { .present = 0 };
	if (!exchange(transport, request, &reply))
		return;
	const char *problem = read_reply(&reply, &tkey, &tsig);
	if (problem != NULL) {
		fail("%s", problem);
		return;
	}
	printf("ok rcode=%u tsig=%d tsigerror=%u mic=%s tkeyerror=%d reply=", reply.octets[3] & 15, tsig.present,
	       tsig.present ? tsig.error : 0, verify(&reply, &tsig, request_mac, request_mac_length),
	       tkey.present ? (int)tkey.error : -1);
	for (size_t i = 0; i < reply.length; i++)
		printf("%02x", reply.octets[i]);
	printf("\n");
}

static int from_hex(const char *text, struct buffer *out)
{
	out->length = 0;
	while (text[0] != 0 && text[1] != 0) {
		char digits[3] = { text[0], text[1], 0 }, *end;
		unsigned char octet = strtoul(digits, &end, 16);
		if (*end != 0 || out->length == MAX_MESSAGE)
			return 0;
		put(out, &octet, 1);
		text += 2;
	}
	return *text == 0 && out->length >= HEADER;
}

/* value returns what follows "name=" when the word begins so. */
static const char *value(const char *word, const char *name)
{
	size_t length = strlen(name);
	return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

static void command(char *line)
{
	static struct buffer message;
	const char *verb = strtok(line, " \n"), *transport = strtok(NULL, " \n"), *word, *v;
	const char *hex = NULL, *other_key = NULL;
	long skew = 0;
	int corrupt = 0;
	if (verb == NULL || transport == NULL) {
		fail("want: VERB udp|tcp");
		return;
	}
	while ((word = strtok(NULL, " \n")) != NULL) {
		if ((v = value(word, "skew")) != NULL)
			skew = atol(v);
		else if ((v = value(word, "corrupt")) != NULL)
			corrupt = atoi(v);
		else if ((v = value(word, "key")) != NULL)
			other_key = v;
		else
			hex = word;
	}
	if (strcmp(verb, "negotiate") == 0) {
		negotiate(transport);
		return;
	}
	if (context == GSS_C_NO_CONTEXT) {
		fail("negotiate first");
	} else if (strcmp(verb, "send") == 0) {
		if (hex == NULL || !from_hex(hex, &message))
			fail("want: send udp|tcp HEX");
		else if (sign(&message, skew, corrupt, other_key))
			report(transport, &message);
	} else if (strcmp(verb, "replay") == 0) {
		report(transport, &last_signed);
	} else if (strcmp(verb, "delete") == 0) {
		put_tkey_query(&message, MODE_DELETE, NULL, 0);
		if (sign(&message, skew, corrupt, other_key))
			report(transport, &message);
	} else {
		fail("unknown command");
	}
}

int main(int argc, char **argv)
{
	if (argc < 4)
		die("usage: gssclient ADDRESS PORT SERVICE [OPTION=VALUE]...");
	server.sin_family = AF_INET;
	server.sin_port = htons(atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		die("bad address %s", argv[1]);
	const char *mech = "spnego";
	char random_name[64];
	snprintf(random_name, sizeof random_name, "%u%u.sig-gssclient.", random16(), random16());
	key_name_length = name_from_text(random_name, key_name);
	for (int i = 4; i < argc; i++) {
		const char *v;
		if ((v = value(argv[i], "mech")) != NULL)
			mech = v;
		else if ((v = value(argv[i], "mutual")) != NULL)
			request_flags = atoi(v) ? request_flags | GSS_C_MUTUAL_FLAG : request_flags & ~GSS_C_MUTUAL_FLAG;
		else if ((v = value(argv[i], "algorithm")) != NULL)
			algorithm = v;
		else if ((v = value(argv[i], "section")) != NULL)
			section = v;
		else if ((v = value(argv[i], "class")) != NULL)
			tkey_class = atoi(v);
		else if ((v = value(argv[i], "name")) != NULL)
			key_name_length = name_from_text(v, key_name);
		else if ((v = value(argv[i], "lifetime")) != NULL)
			asked_lifetime = strtoul(v, NULL, 10);
		else if ((v = value(argv[i], "udpsize")) != NULL)
			udp_size = atoi(v);
		else
			die("unknown option %s", argv[i]);
	}
	gss_buffer_desc service = { strlen(argv[3]), argv[3] };
	OM_uint32 minor;
	OM_uint32 major = gss_import_name(&minor, &service, GSS_KRB5_NT_PRINCIPAL_NAME, &target);
	if (major != GSS_S_COMPLETE)
		die("service %s: %s", argv[3], gss_failure(major, minor));
	mechanism = strcmp(mech, "spnego") == 0 ? &oid_spnego : &oid_krb5;
	framing.with_token = 1;
	if (strcmp(mech, "spnego-ms") == 0) {
		framing.first = &oid_krb5_microsoft;
	} else if (strcmp(mech, "spnego-other") == 0) {
		framing.first = &oid_ntlm;
	} else if (strcmp(mech, "spnego-bare") == 0) {
		framing.first = &oid_krb5;
		framing.with_token = 0;
	}

	static char line[2 * MAX_MESSAGE + 256];
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin) != NULL)
		command(line);
	return 0;
}
