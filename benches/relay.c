/* A bare relay on this machine: the floor under what any proxy must pay.
 *
 * One thread, one epoll loop, one server connection for each client, and no idea of the protocol. What one side sends
 * is read once into a shared buffer and written straight to the other side. Only what a write leaves over is kept
 * (spilled); until it is gone that side is not read, so a peer that does not read costs one buffer and no more.
 *
 * Usage: relay LISTEN_PORT SERVER, where SERVER is a port of loopback or the path of a Unix socket.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024, EVENTS = 128 };

/* One socket of a pair, and what still has to be written to it. */
struct end {
	int fd;
	struct end *peer;
	char *spill;
	size_t start, left; /* the unwritten part of spill */
	struct end *next_closed;
};

union address {
	struct sockaddr any;
	struct sockaddr_in tcp;
	struct sockaddr_un unix_socket;
};

static int epoll;
static char buffer[BUFFER];
static struct end *closed; /* freed only between batches: a later event of this batch may still point at one */

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port)),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static union address server_address(const char *server)
{
	union address address = { .unix_socket.sun_family = AF_UNIX };
	if (server[0] == '/')
		snprintf(address.unix_socket.sun_path, sizeof address.unix_socket.sun_path, "%s", server);
	else
		address.tcp = loopback(server);
	return address;
}

/* Reads an end unless its peer is behind; waits for room to write only while something is left over. */
static void watch(struct end *end, int operation)
{
	struct epoll_event event = { .data.ptr = end };
	if (end->peer->left == 0)
		event.events |= EPOLLIN;
	if (end->left > 0)
		event.events |= EPOLLOUT;
	if (epoll_ctl(epoll, operation, end->fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void watch_both(struct end *end, int operation)
{
	watch(end, operation);
	watch(end->peer, operation);
}

/* Closes both: Postgres has no half-closed sessions. Nothing is lost, because an end is read to its EOF only after all
 * that came before has been written to the other. */
static void hang_up(struct end *end)
{
	struct end *both[] = { end, end->peer };
	for (int i = 0; i < 2; i++) {
		close(both[i]->fd);
		both[i]->fd = -1;
		both[i]->next_closed = closed;
		closed = both[i];
	}
}

static void free_closed(void)
{
	while (closed) {
		struct end *end = closed;
		closed = end->next_closed;
		free(end->spill);
		free(end);
	}
}

/* How much was written: 0 when the socket is full, -1 when it is gone. */
static ssize_t write_some(struct end *to, const char *bytes, size_t count)
{
	ssize_t written = send(to->fd, bytes, count, MSG_NOSIGNAL);
	return written < 0 && errno == EAGAIN ? 0 : written;
}

static void spill(struct end *to, const char *bytes, size_t count)
{
	if (!to->spill && !(to->spill = malloc(BUFFER)))
		err(1, "malloc");
	memcpy(to->spill, bytes, count);
	to->start = 0;
	to->left = count;
	watch_both(to, EPOLL_CTL_MOD);
}

static void forward(struct end *from)
{
	ssize_t count = read(from->fd, buffer, BUFFER);
	if (count < 0 && errno == EAGAIN)
		return;
	ssize_t written = count > 0 ? write_some(from->peer, buffer, (size_t)count) : -1;
	if (written < 0)
		hang_up(from);
	else if (written < count)
		spill(from->peer, buffer + written, (size_t)(count - written));
}

static void drain(struct end *to)
{
	ssize_t written = write_some(to, to->spill + to->start, to->left);
	if (written < 0) {
		hang_up(to);
		return;
	}
	to->start += (size_t)written;
	to->left -= (size_t)written;
	if (to->left == 0) {
		watch_both(to, EPOLL_CTL_MOD);
	}
}

static struct end *new_end(int fd)
{
	struct end *end = calloc(1, sizeof *end);
	if (!end)
		err(1, "calloc");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* refused by a Unix socket, which has no need */
	end->fd = fd;
	return end;
}

/* The connect blocks, which on one machine is no wait: the kernel answers for a listening server within the call. */
static void welcome(int listener, const union address *address)
{
	int client_fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client_fd < 0)
		return;
	int server_fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server_fd < 0)
		err(1, "socket");
	if (connect(server_fd, &address->any, sizeof address->unix_socket) < 0) {
		warn("connect");
		close(client_fd);
		close(server_fd);
		return;
	}
	fcntl(server_fd, F_SETFL, O_NONBLOCK);
	struct end *client = new_end(client_fd), *server = new_end(server_fd);
	client->peer = server;
	server->peer = client;
	watch_both(client, EPOLL_CTL_ADD);
}

static int listen_on(const char *port)
{
	struct sockaddr_in address = loopback(port);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, SOMAXCONN) < 0)
		err(1, "listen on %s", port);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
		err(1, "epoll_ctl");
	return listener;
}

/* ERR and HUP mean that the connection is gone in both ways; a read, if one is allowed, finds that out by itself. */
static void serve(struct end *end, uint32_t events)
{
	if (events & EPOLLOUT)
		drain(end);
	if (end->fd < 0)
		return;
	if (end->peer->left == 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		forward(end);
	else if (events & (EPOLLERR | EPOLLHUP))
		hang_up(end);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: relay LISTEN_PORT SERVER");
	if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		err(1, "epoll_create1");
	int listener = listen_on(argv[1]);
	union address server = server_address(argv[2]);
	for (;;) {
		struct epoll_event events[EVENTS];
		int count = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < count; i++) {
			struct end *end = events[i].data.ptr;
			if (!end)
				welcome(listener, &server);
			else if (end->fd >= 0)
				serve(end, events[i].events);
		}
		free_closed();
	}
}
