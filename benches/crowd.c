/* A crowd of clients, each with a login and statements of its own, which pgbench cannot have.
 *
 * One thread, one epoll loop, the simple protocol: as little as a client can cost. Each client sends its statements one
 * at a time, a Query each, and that is its transaction. One of the rows that come back must be the client's answer:
 * a client without it ends the run.
 *
 * Those who repeat do so until SIGALRM, pgbench's own end, and once a second a line tells the rate as pgbench's does.
 * Those who stay run their transaction once; "in" is printed when the last has done that.
 *
 * Usage: crowd PORT DATABASE CLIENTS repeat|stay
 * CLIENTS is a file with a line for each client: user, password, answer and statements, with tabs between them. An
 * empty answer is not waited for; without statements a client only logs in.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS = 128,
	STATEMENTS = 8,
	LOGINS = 64, /* at once: a crowd does not come through the door in one step */
	BUFFER = 8 * 1024,
};

struct frame {
	char *bytes;
	size_t length;
};

struct client {
	int fd;
	char *user, *password, *answer;
	struct frame statements[STATEMENTS];
	int count, next; /* statements, and the one to be sent next */
	bool in, answered;
	size_t have; /* bytes in the buffer */
	char buffer[BUFFER];
};

static struct client **clients;
static int client_count, connected, logged_in, settled, gone;
static bool repeat;
static volatile sig_atomic_t over;
static long transactions;
static int epoll;
static struct sockaddr_in address = { .sin_family = AF_INET };
static const char *database;

static uint32_t get_length(const char *bytes)
{
	uint32_t length;
	memcpy(&length, bytes, sizeof length);
	return ntohl(length);
}

static void put_length(char *bytes, size_t length)
{
	uint32_t big_endian = htonl((uint32_t)length);
	memcpy(bytes, &big_endian, sizeof big_endian);
}

static struct frame new_frame(char tag, const char *text)
{
	size_t size = strlen(text) + 1;
	struct frame frame = { malloc(size + 5), size + 5 };
	if (!frame.bytes)
		err(1, "malloc");
	frame.bytes[0] = tag;
	put_length(frame.bytes + 1, size + 4);
	memcpy(frame.bytes + 5, text, size);
	return frame;
}

/* What a client sends is small and waited for, so the socket has room for all of it. */
static void send_all(struct client *client, const char *bytes, size_t length)
{
	if (send(client->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
		err(1, "send");
}

static void send_statement(struct client *client)
{
	struct frame *frame = &client->statements[client->next++];
	send_all(client, frame->bytes, frame->length);
}

static void send_startup(struct client *client)
{
	char packet[512];
	put_length(packet + 4, 3 << 16);
	int length = 8 + snprintf(packet + 8, sizeof packet - 8, "user%c%s%cdatabase%c%s%c", 0, client->user, 0, 0,
				  database, 0);
	packet[length++] = 0;
	put_length(packet, (size_t)length);
	send_all(client, packet, (size_t)length);
}

static void send_password(struct client *client)
{
	struct frame frame = new_frame('p', client->password);
	send_all(client, frame.bytes, frame.length);
	free(frame.bytes);
}

/* The connect blocks: on loopback it is over when the listener has room. */
static void enter(struct client *client)
{
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0)
		err(1, "connect");
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	fcntl(client->fd, F_SETFL, O_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
		err(1, "epoll_ctl");
	send_startup(client);
}

static void let_in(void)
{
	while (connected < client_count && connected - logged_in < LOGINS)
		enter(clients[connected++]);
}

static void settle(void)
{
	if (++settled == client_count) {
		puts("in");
		fflush(stdout);
	}
}

/* Those who repeat wait until all are in, so that no login is measured. */
static void begin(struct client *client)
{
	client->in = true;
	logged_in++;
	let_in();
	if (!repeat && client->count > 0)
		send_statement(client);
	else if (!repeat)
		settle();
	else if (logged_in == client_count)
		for (int i = 0; i < client_count; i++)
			send_statement(clients[i]);
}

/* With nothing under way, so that the server is left as good as it was. */
static void leave(struct client *client)
{
	send_all(client, (char[]){ 'X', 0, 0, 0, 4 }, 5);
	close(client->fd);
	gone++;
}

static void finish(struct client *client)
{
	if (!client->answered && client->answer[0])
		errx(1, "%s was not answered \"%s\"", client->user, client->answer);
	client->answered = false;
	client->next = 0;
	transactions++;
	if (!repeat)
		settle();
	else if (over)
		leave(client);
	else
		send_statement(client);
}

static void ready(struct client *client)
{
	if (!client->in)
		begin(client);
	else if (client->next < client->count)
		send_statement(client);
	else
		finish(client);
}

/* A row of one column that is not NULL: number of columns, length, text. */
static bool is_answer(const struct client *client, const char *row, size_t length)
{
	size_t expected = strlen(client->answer);
	return length == 6 + expected && get_length(row + 2) == expected && memcmp(row + 6, client->answer, expected) == 0;
}

static void refused(const char *fields)
{
	while (*fields && *fields != 'M')
		fields += strlen(fields) + 1;
	errx(1, "refused: %s", *fields ? fields + 1 : "without a message");
}

static void take(struct client *client, char tag, const char *body, size_t length)
{
	switch (tag) {
	case 'R':
		if (get_length(body) == 3)
			send_password(client);
		else if (get_length(body) != 0)
			errx(1, "asked for more than a password in clear");
		break;
	case 'D':
		client->answered |= is_answer(client, body, length);
		break;
	case 'Z':
		ready(client);
		break;
	case 'E':
		refused(body);
	}
}

static void receive(struct client *client)
{
	ssize_t count = recv(client->fd, client->buffer + client->have, BUFFER - client->have, 0);
	if (count < 0 && errno == EAGAIN)
		return;
	if (count <= 0)
		errx(1, "a connection was closed");
	client->have += (size_t)count;
	size_t start = 0, whole;
	while (client->have - start >= 5 && client->have - start >= (whole = 1 + get_length(client->buffer + start + 1))) {
		take(client, client->buffer[start], client->buffer + start + 5, whole - 5);
		start += whole;
	}
	client->have -= start;
	memmove(client->buffer, client->buffer + start, client->have);
	if (client->have == BUFFER)
		errx(1, "a message is longer than %d bytes", BUFFER);
}

static struct client *new_client(char *line)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client)
		err(1, "calloc");
	client->user = strsep(&line, "\t");
	client->password = strsep(&line, "\t");
	client->answer = strsep(&line, "\t");
	if (!client->answer)
		errx(2, "a client needs a user, a password and an answer");
	for (char *statement; (statement = strsep(&line, "\t"));) {
		if (client->count == STATEMENTS)
			errx(2, "a client can have %d statements", STATEMENTS);
		client->statements[client->count++] = new_frame('Q', statement);
	}
	return client;
}

static void read_clients(const char *path)
{
	FILE *file = fopen(path, "r");
	if (!file)
		err(1, "%s", path);
	for (char *line = NULL; ; line = NULL) {
		size_t size = 0;
		if (getline(&line, &size, file) < 0)
			break;
		line[strcspn(line, "\n")] = 0;
		if (!(clients = realloc(clients, sizeof *clients * (size_t)(client_count + 1))))
			err(1, "realloc");
		clients[client_count++] = new_client(line);
	}
	fclose(file);
}

static double now(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void end(int signal)
{
	(void)signal;
	over = true;
}

/* As pgbench tells it. No client waits between transactions, so their latency follows from their number and rate. */
static void report(double passed)
{
	double rate = (double)transactions / passed;
	fprintf(stderr, "progress: %.3f s, %.1f tps, lat %.3f ms\n", now(CLOCK_REALTIME), rate, 1e3 * client_count / rate);
	transactions = 0;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: crowd PORT DATABASE CLIENTS repeat|stay");
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	database = argv[2];
	read_clients(argv[3]);
	repeat = strcmp(argv[4], "repeat") == 0;
	signal(SIGALRM, end);
	if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		err(1, "epoll_create1");
	let_in();
	double last = now(CLOCK_MONOTONIC);
	while (gone < client_count) {
		struct epoll_event events[EVENTS];
		int count = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < count; i++)
			receive(events[i].data.ptr);
		double time = now(CLOCK_MONOTONIC);
		if (repeat && time - last >= 1 && transactions > 0) {
			report(time - last);
			last = time;
		}
	}
}
