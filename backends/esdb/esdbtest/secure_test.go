package esdbtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func secure(t *testing.T, opts esdbtest.Options) *esdbtest.Server {
	t.Helper()
	opts.Secure = true
	return start(t, &opts)
}

// as is the URL of a secure server for another user; empty for nobody.
func as(srv *esdbtest.Server, user string) string {
	if user != "" {
		user += "@"
	}
	return strings.Replace(srv.URL(), "admin:changeit@", user, 1)
}

func TestM10_TheCertificateCanBeVerified(t *testing.T) {
	srv := secure(t, esdbtest.Options{})
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, srv.CertificatePEM(), 0o600))
	verified := strings.Replace(srv.URL(), "&tlsVerifyCert=false", "&tlsCAFile="+file, 1)
	mustAppend(t, connect(t, verified, ""), "s", esdb.NoStream{}, event("x"))

	unknown := strings.Replace(srv.URL(), "&tlsVerifyCert=false", "", 1)
	_, err := appendTo(t.Context(), connect(t, unknown, "&maxDiscoverAttempts=1"), "s", esdb.Any{}, event("x"))
	require.Error(t, err)
}

func TestM10_CredentialsAndAccessListsAreChecked(t *testing.T) {
	srv := secure(t, esdbtest.Options{Users: []esdbtest.User{{Name: "alice", Password: "secret", Groups: []string{"writers"}}}})
	admin := connect(t, srv.URL(), "")
	mustAppend(t, admin, "open", esdb.NoStream{}, event("x"))
	mustAppend(t, admin, "restricted", esdb.NoStream{}, event("x"))
	acl := esdb.Acl{}
	acl.AddReadRoles("writers")
	acl.AddWriteRoles("$admins")
	meta := esdb.StreamMetadata{}
	meta.SetAcl(acl)
	_, err := admin.SetStreamMetadata(t.Context(), "restricted", esdb.AppendToStreamOptions{}, meta)
	require.NoError(t, err)

	write := func(stream string) func(*esdb.Client) error {
		return func(c *esdb.Client) error {
			// Without events: a refusal ends the call at once, and a client that
			// is still sending may see EOF in its place.
			_, err := appendTo(t.Context(), c, stream, esdb.Any{})
			return err
		}
	}
	read := func(stream string) func(*esdb.Client) error {
		return func(c *esdb.Client) error {
			_, err := readStream(t.Context(), c, stream, esdb.ReadStreamOptions{}, 1)
			return err
		}
	}
	all := func(c *esdb.Client) error {
		_, err := readAll(t.Context(), c, esdb.ReadAllOptions{}, 1)
		return err
	}
	const denied, unauthenticated = esdb.ErrorCodeAccessDenied, esdb.ErrorCodeUnauthenticated
	tests := []struct {
		name string
		user string
		do   func(*esdb.Client) error
		want esdb.ErrorCode // ErrorCodeUnknown: allowed
	}{
		{"admin reads $all", "admin:changeit", all, 0},
		{"admin reads a system stream", "admin:changeit", read("$users"), 0},
		{"admin writes $all", "admin:changeit", write("$all"), denied},
		{"ops reads $all", "ops:changeit", all, denied},
		{"alice reads an open stream", "alice:secret", read("open"), 0},
		{"alice writes an open stream", "alice:secret", write("open"), 0},
		{"alice reads what her group may", "alice:secret", read("restricted"), 0},
		{"alice writes what admins may", "alice:secret", write("restricted"), denied},
		{"ops reads metadata, which is open", "ops:changeit", read("$$restricted"), 0},
		{"ops reads what a group may", "ops:changeit", read("restricted"), denied},
		{"alice reads $all", "alice:secret", all, denied},
		{"alice reads a system stream", "alice:secret", read("$users"), denied},
		{"alice writes a system stream", "alice:secret", write("$mine"), denied},
		{"a wrong password", "alice:wrong", read("open"), unauthenticated},
		{"an unknown user", "bob:secret", read("open"), unauthenticated},
		{"nobody", "", read("open"), denied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(connect(t, as(srv, test.user), ""))
			if test.want == 0 {
				require.NoError(t, err)
				return
			}
			requireCode(t, err, test.want)
		})
	}

	// $all is opened to others by the metadata of $all.
	open := esdb.Acl{}
	open.AddReadRoles("writers")
	meta.SetAcl(open)
	_, err = admin.SetStreamMetadata(t.Context(), "$all", esdb.AppendToStreamOptions{}, meta)
	require.NoError(t, err)
	require.NoError(t, all(connect(t, as(srv, "alice:secret"), "")))
}

func TestM10_AnonymousAccessIsAnOption(t *testing.T) {
	srv := secure(t, esdbtest.Options{AllowAnonymous: true})
	c := connect(t, as(srv, ""), "")
	mustAppend(t, c, "open", esdb.NoStream{}, event("x"))
	_, err := readAll(t.Context(), c, esdb.ReadAllOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeAccessDenied)
}

func TestM10_TheClientSendsNoCredentialsWithoutTLS(t *testing.T) {
	srv := start(t, nil)
	// An insecure server asks for none, so even wrong ones go through.
	c := connect(t, strings.Replace(srv.URL(), "esdb://", "esdb://alice:wrong@", 1), "")
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
}
