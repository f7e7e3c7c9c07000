package gateway

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/golang-jwt/jwt/v5"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/ranking"
)

// Users, Rooms and Balance are what the platform begins with. User N is called "userN" with the password "pw-userN".
const (
	Users   = 200
	Rooms   = 100
	Balance = 1_000_000
)

var schema = []string{
	`CREATE TABLE IF NOT EXISTS users (id INT PRIMARY KEY, name VARCHAR(64) UNIQUE NOT NULL, password BINARY(32) NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS rooms (id INT PRIMARY KEY, title VARCHAR(100) NOT NULL, host VARCHAR(64) NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS accounts (user_id INT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0))`,
	`CREATE TABLE IF NOT EXISTS gifts (id VARCHAR(64) PRIMARY KEY, user_id INT NOT NULL, room_id INT NOT NULL,
		amount BIGINT NOT NULL, created TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3))`,
}

// startLook is how often a server is looked at that is starting.
const startLook = 50 * time.Millisecond

// migrate makes the tables and the first rows. It may run again.
func migrate(ctx context.Context, db *sql.DB) error {
	for db.PingContext(ctx) != nil { // MariaDB may still be making its data
		if !target.Wait(ctx, startLook) {
			return ctx.Err()
		}
	}
	for _, statement := range schema {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("gateway: schema: %w", err)
		}
	}
	var users, rooms, accounts []string
	var names, hosts, balances []any
	for i := range Users {
		name := fmt.Sprintf("user%d", i)
		hash, err := hashPassword(name, "pw-"+name)
		if err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
		users, names = append(users, "(?,?,?)"), append(names, i, name, hash)
		accounts, balances = append(accounts, "(?,?)"), append(balances, i, Balance)
	}
	for i := range Rooms {
		rooms, hosts = append(rooms, "(?,?,?)"), append(hosts, i, fmt.Sprintf("Room %d", i), fmt.Sprintf("user%d", i))
	}
	for _, insert := range []struct {
		into   string
		values []string
		args   []any
	}{{"users", users, names}, {"accounts", accounts, balances}, {"rooms", rooms, hosts}} {
		if _, err := db.ExecContext(ctx, "INSERT IGNORE INTO "+insert.into+" VALUES "+strings.Join(insert.values, ","),
			insert.args...); err != nil {
			return fmt.Errorf("gateway: first rows of %s: %w", insert.into, err)
		}
	}
	return nil
}

// hashPassword is PBKDF2 (RFC 8018) with the name as salt and, as thousands of synthetic log-ins share one machine with
// the platform, only 1,000 rounds.
func hashPassword(name, password string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, []byte("livedrill:"+name), 1000, 32)
}

// tokens signs and checks what a log-in gives (RFC 7519, HS256).
type tokens struct {
	key   []byte
	clock target.Told[target.Clock]
}

// now is the time by the gateway's own clock, which can be told to be wrong.
func (t *tokens) now() time.Time { return time.Now().Add(t.clock.Now().Ahead) }

var errForbidden = errors.New("not authorised")

func (t *tokens) issue(user int, session string) (string, error) {
	now := t.now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{Subject: fmt.Sprint(user), ID: session,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour))}).SignedString(t.key)
}

// user checks a request's token and gives the user's number.
func (t *tokens) user(r *http.Request) (string, error) {
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", errForbidden
	}
	claims := &jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) { return t.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(t.now))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errForbidden, err)
	}
	return claims.Subject, nil
}

// login checks name and password, keeps the session in Redis, and answers with a token.
func (s *server) login(r *http.Request) (any, error) {
	var in struct{ Name, Password string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	var id int
	var stored []byte
	err := s.reads.replica.QueryRowContext(r.Context(), "SELECT id, password FROM users WHERE name = ?", in.Name).Scan(&id, &stored)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errForbidden
	}
	if err != nil {
		return nil, err
	}
	given, err := hashPassword(in.Name, in.Password)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(given, stored) != 1 {
		return nil, errForbidden
	}
	var raw [12]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, err
	}
	session := hex.EncodeToString(raw[:])
	if err := s.cache.put(r.Context(), "session:"+session, []byte(fmt.Sprint(id)), time.Hour); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	token, err := s.tokens.issue(id, session)
	return map[string]string{"token": token}, err
}

// gift moves coins from the sender's account, exactly once for each key.
func (s *server) gift(r *http.Request) (any, error) {
	user, err := s.tokens.user(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Key    string
		Room   int
		Amount int64
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Key == "" || len(in.Key) > 64 || in.Amount < 1 || in.Amount > Balance {
		return nil, fmt.Errorf("%w: a gift has a key of at most 64 characters and an amount above zero", errMalformed)
	}
	if err := s.cache.mark(r.Context(), "gift:"+in.Key, time.Hour); err != nil {
		return nil, fmt.Errorf("idempotency key: %w", err)
	}
	balance, err := s.transfer(r.Context(), user, in.Key, in.Room, in.Amount)
	var known *mysql.MySQLError
	if errors.As(err, &known) && known.Number == 1062 { // ER_DUP_ENTRY: this gift was given before
		return map[string]any{"key": in.Key, "again": true}, nil
	}
	if err == nil {
		s.rank(r.Context(), ranking.Gift{Room: in.Room, User: user, Amount: in.Amount})
	}
	return map[string]any{"key": in.Key, "balance": balance}, err
}

// account tells what the user has.
func (s *server) account(r *http.Request) (any, error) {
	user, err := s.tokens.user(r)
	if err != nil {
		return nil, err
	}
	var balance int64
	err = s.reads.of(r.Context(), user).QueryRowContext(r.Context(), "SELECT balance FROM accounts WHERE user_id = ?", user).Scan(&balance)
	return map[string]any{"balance": balance}, err
}

// rankLimit is what a giver waits for the ranking, at most; nothing is tried twice, as it would be counted twice.
const rankLimit = 200 * time.Millisecond

// rank queues a gift that is paid for its room's ranking. Whether that works is no matter of the giver's: the money is safe.
func (s *server) rank(ctx context.Context, g ranking.Gift) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rankLimit) // the giver may have gone: the gift is given
	defer cancel()
	full, err := ranking.Put(ctx, s.queue, s.bound, g)
	if err != nil {
		s.numbers.unranked.Inc()
		return
	}
	queue := "first"
	if full {
		queue = "later"
	}
	s.numbers.queued[queue].Inc()
}

// transfer takes the coins and gives what is left.
func (s *server) transfer(ctx context.Context, user, key string, room int, amount int64) (balance int64, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // it goes back to the pool
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if _, err := tx.ExecContext(ctx, "INSERT INTO gifts (id, user_id, room_id, amount) VALUES (?, ?, ?, ?)",
		key, user, room, amount); err != nil {
		return 0, err
	}
	// LAST_INSERT_ID lets the answer to the update carry what is left: no question more.
	result, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = LAST_INSERT_ID(balance - ?) WHERE user_id = ? AND balance >= ?",
		amount, user, amount)
	if err != nil {
		return 0, err
	}
	if n, err := result.RowsAffected(); err != nil {
		return 0, err
	} else if n != 1 {
		return 0, fmt.Errorf("%w: the account does not hold %d", errRefused, amount)
	}
	if balance, err = result.LastInsertId(); err != nil {
		return 0, err
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	s.reads.wrote(ctx, conn, user)
	return balance, nil
}
