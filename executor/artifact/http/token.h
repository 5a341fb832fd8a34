/* Tokens by the client credentials grant of OAuth 2.0 (RFC 6749, 4.4). */
#pragma once

#include "executor/artifact/http/client.h"

/* What a token server sends at most. */
#define WEB_TOKEN_BYTES_MAX (1024 * 1024)

/* Reads the three secrets, scopes and parameters of an artifact's auth.oauth2; nothing is sent. */
int web_token_new(struct web_client *client, struct json_object *oauth2, struct web_token **ret,
		  struct error *err);
void web_token_free(struct web_token *token);

/* Sets client->authorization; tries again while the failure is one that passes. The client's own
 * credentials go as HTTP Basic, or, where the server refuses that, in the form; which of them it takes
 * is remembered (RFC 6749, 2.3.1). */
int web_token_fetch(struct web_token *token, struct web_client *client, struct error *err);
