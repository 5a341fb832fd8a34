#include "signal/control_address.h"

#include "executor/base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int refuse(const char *text, struct error *err)
{
	return error_set(err, -EINVAL,
			 "\"%.100s\" is not ADDRESS:PORT (an IPv4 address, or [an IPv6 address])",
			 text);
}

int control_address_parse(const char *text, struct sockaddr_storage *ret, struct error *err)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	bool is_six = *text == '[';
	const char *colon = strrchr(text, ':');
	char host[CONTROL_ADDRESS_TEXT_MAX];
	int64_t port;
	size_t size;

	if (!colon || text_parse_int64(colon + 1, &port) < 0 || port < 0 || port > UINT16_MAX ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return refuse(text, err);
	size = (size_t)(colon - text);
	if (size >= sizeof(host) || (is_six && (size < 2 || text[size - 1] != ']')))
		return refuse(text, err);
	snprintf(host, sizeof(host), "%.*s", (int)(is_six ? size - 2 : size), text + is_six);
	memset(ret, 0, sizeof(*ret));
	if (is_six) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &six->sin6_addr) == 1 ? 0 : refuse(text, err);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &four->sin_addr) == 1 ? 0 : refuse(text, err);
}

const char *control_address_format(const struct sockaddr_storage *address,
				   char buffer[CONTROL_ADDRESS_TEXT_MAX])
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
		snprintf(buffer, CONTROL_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(four->sin_port));
	} else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], host, sizeof(host));
		snprintf(buffer, CONTROL_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(six->sin6_port));
	} else {
		inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
		snprintf(buffer, CONTROL_ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(six->sin6_port));
	}
	return buffer;
}

bool control_address_is_loopback(const struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;

	if (address->ss_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) &&
		six->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

socklen_t control_address_size(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) :
					       sizeof(struct sockaddr_in6);
}
