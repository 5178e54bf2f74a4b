package sentry

import "testing"

func TestSecretName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"password", "Password", "db_password", "userPassword", "passwd", "pwd", "secret", "client-secret", "SECRET_KEY", "apiKey", "API_KEY", "x-api-key",
		"Authorization", "Proxy-Authorization", "auth", "http.auth", "token", "access_token", "accessToken", "csrftoken", "csrf_token", "X-CSRF-Token",
		"session_id", "sessionId", "cookie", "Set-Cookie", "privateKey", "credentials", "credit_card", "cardNumber", "cvv", "jwt",
	} {
		if !secretName(name) {
			t.Errorf("%q is not taken for a secret", name)
		}
	}
	for _, name := range []string{"", "id", "author", "authority", "max_tokens", "token_count", "key", "keyboard", "session", "passenger", "compass", "card", "monkey", "user", "email", "PWD", "OLDPWD"} {
		if secretName(name) {
			t.Errorf("%q is taken for a secret", name)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nothing to hide here":                                                         "nothing to hide here",
		"postgres://app:hunter2@db:5432/x refused":                                     "postgres://[Filtered]@db:5432/x refused",
		"GET https://x.com/a?token=abc&b=1#c":                                          "GET https://x.com/a?token=[Filtered]&b=1#c",
		"/callback?code=1&access_token=abc":                                            "/callback?code=1&access_token=[Filtered]",
		"host=db user=app password=hunter2 port=1":                                     "host=db user=app password=[Filtered] port=1",
		"{'password': 'hunter2', 'user': 'ann'}":                                       "{'password': [Filtered], 'user': 'ann'}",
		`{"api_key":"abc","a":1}`:                                                      `{"api_key":[Filtered],"a":1}`,
		"Unexpected token: < in JSON":                                                  "Unexpected token: < in JSON",
		"header Bearer abcdefghijklmnop1234 refused":                                   "header Bearer [Filtered] refused",
		"Basic authentication_is_required":                                             "Basic authentication_is_required",
		"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc":                             "jwt [Filtered]",
		"key -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end": "key [Filtered] end",
		"cut off -----BEGIN PRIVATE KEY-----\nMIIE":                                    "cut off [Filtered]",
		"paid with 4111 1111 1111 1111 today":                                          "paid with [Filtered] today",
		"paid with 4111-1111-1111-1111.":                                               "paid with [Filtered].",
		"card 5555555555554444":                                                        "card [Filtered]",
		"amex 378282246310005":                                                         "amex [Filtered]",
		"not a card 4111111111111112":                                                  "not a card 4111111111111112",
		"ratio 0.4111111111111111":                                                     "ratio 0.4111111111111111",
		"id x4111111111111111":                                                         "id x4111111111111111",
		"time 1793700672345678901 ns":                                                  "time 1793700672345678901 ns",
		"long 41111111111111114111111111111111 number":                                 "long 41111111111111114111111111111111 number",
		"4111111111111111 and 4111111111111111":                                        "[Filtered] and [Filtered]",
	} {
		if got := scrub(in, false); got != want {
			t.Errorf("scrub(%q) = %q, want %q", in, got, want)
		}
	}
	const source = `connect(password=password, token=token)`
	if got := scrub(source, true); got != source {
		t.Errorf("source code: %q", got)
	}
}
