/* Tokens by the client credentials grant of OAuth 2.0 (RFC 6749, 4.4). */
#pragma once

#include "executor/artifact/http/client.h"

/* What a token server sends at most. */
#define WEB_TOKEN_BYTES_MAX (1024 * 1024)

/* Reads the three secrets, scopes and parameters of an artifact's auth.oauth2; nothing is sent. Artifacts of
 * the process for which all of these are the same share a token, which the client's cache owns. */
int web_token_share(struct web_client *client, struct json_object *oauth2, struct web_token **ret,
		    struct error *err);

/* Sets client->authorization to a token that has not ended. If there is none it is fetched, once for all who
 * want it together; tries again while the failure is one that passes. The client's own
 * credentials go as HTTP Basic, or, where the server refuses that, in the form; which of them it takes
 * is remembered (RFC 6749, 2.3.1). */
int web_token_use(struct web_token *token, struct web_client *client, struct error *err);

/* The server takes the client's token no longer: the next one who needs it fetches another, unless
 * somebody has done so already. */
void web_token_refuse(struct web_token *token, const struct web_client *client);
