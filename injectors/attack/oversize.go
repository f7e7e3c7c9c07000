package attack

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// oversize is a request of which one part is far larger than any that is needed.
type oversize struct {
	method, path, token string
	body                json.RawMessage
}

// oversizes are a field, a body, the number of fields, their depth, a header and a path. They are written once: the attacker shares the machine.
var oversizes = sync.OnceValue(func() []oversize {
	logIn := func(name string) oversize {
		return oversize{method: "POST", path: "/v1/login", body: json.RawMessage(fmt.Sprintf(`{"name":%s,"password":"x"}`, name))}
	}
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `,"f%d":%d`, i, i)
	}
	const deep = 5000
	return []oversize{
		logIn(`"` + strings.Repeat("A", 64<<10) + `"`),
		logIn(`"` + strings.Repeat("A", 1<<20) + `"`),
		logIn(`"user1"` + many.String()),
		logIn(strings.Repeat("[", deep) + strings.Repeat("]", deep)),
		{method: "POST", path: "/v1/gifts", token: strings.Repeat("A", 32<<10), body: json.RawMessage(`{"key":"k","room":1,"amount":1}`)},
		{method: "GET", path: "/v1/rooms/" + strings.Repeat("9", 16<<10), body: json.RawMessage("null")},
	}
})
