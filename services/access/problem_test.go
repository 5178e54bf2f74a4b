package access_test

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/midwatch/midwatch/services/access"
)

func TestUnprocessableSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.HTTPErrorHandler = access.ErrorHandler(slog.New(slog.DiscardHandler))
	e.GET("/", func(echo.Context) error {
		return access.Unprocessable(
			access.Problem{Field: "levels[0].severity", Message: "a cause cannot page", Rules: []string{"checkout"}},
			access.Problem{Field: "name", Message: "is missing"},
		)
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for _, want := range []string{
		`"code":"unprocessable"`, `"message":"levels[0].severity: a cause cannot page (and 1 more)"`,
		`"problems":[{"field":"levels[0].severity","message":"a cause cannot page","rules":["checkout"]},{"field":"name","message":"is missing"}]`,
	} {
		if w.Code != 422 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("answer = %d %s, want 422 with %s", w.Code, w.Body.String(), want)
		}
	}
}
