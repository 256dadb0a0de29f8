package main

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// users are made and unmade by root; where there are passwords, the new one uses what he got.
func users(ctx context.Context, w *world) error {
	root, err := w.client("root")
	if err != nil {
		return err
	}
	defer root.Close()
	status, err := root.AuthStatus(ctx)
	if err != nil {
		return err
	}
	kind := clientv3.PermissionType(clientv3.PermReadWrite)
	_, role := root.RoleAdd(ctx, "maker")
	_, grant := root.RoleGrantPermission(ctx, "maker", "made/", clientv3.GetPrefixRangeEnd("made/"), kind)
	_, user := root.UserAdd(ctx, "ann", "first")
	_, noPassword := root.UserAddWithOptions(ctx, "bob", "", &clientv3.UserAddOptions{NoPassword: true})
	_, member := root.UserGrantRole(ctx, "ann", "maker")
	_, password := root.UserChangePassword(ctx, "ann", "annpw")
	_, twice := root.UserAdd(ctx, "ann", "x")
	_, noRole := root.UserGrantRole(ctx, "ann", "nobody")
	_, noSuchRole := root.RoleGet(ctx, "nobody")
	if err := all(role, grant, user, noPassword, member, password,
		expect("auth", status.Enabled, w.users()),
		expectError("a user twice", twice, rpctypes.ErrUserAlreadyExist),
		expectError("no role", noRole, rpctypes.ErrRoleNotFound),
		expectError("no role", noSuchRole, rpctypes.ErrRoleNotFound)); err != nil {
		return err
	}
	ann, err := root.UserGet(ctx, "ann")
	if err != nil {
		return err
	}
	maker, err := root.RoleGet(ctx, "maker")
	if err != nil {
		return err
	}
	if err := all(expect("roles", words(ann.Roles), "[maker]"),
		expect("permissions", string(maker.Perm[0].RangeEnd), "made0")); err != nil {
		return err
	}
	if w.mode == "auth" {
		if err := newUser(ctx, w, root); err != nil {
			return err
		}
	}
	_, revoke := root.RoleRevokePermission(ctx, "maker", "made/", clientv3.GetPrefixRangeEnd("made/"))
	_, left := root.UserRevokeRole(ctx, "ann", "maker")
	_, noAnn := root.UserDelete(ctx, "ann")
	_, noBob := root.UserDelete(ctx, "bob")
	_, noMaker := root.RoleDelete(ctx, "maker")
	_, again := root.UserGet(ctx, "ann")
	return all(revoke, left, noAnn, noBob, noMaker,
		expectError("deleted", again, rpctypes.ErrUserNotFound))
}

// newUser may do what his role says, with a new password too, until the role is taken from him.
func newUser(ctx context.Context, w *world, root *clientv3.Client) error {
	ann, err := w.client("ann")
	if err != nil {
		return err
	}
	defer ann.Close()
	_, may := ann.Put(ctx, "made/a", "1")
	_, mayNot := ann.Put(ctx, "other", "1")
	_, again := root.UserChangePassword(ctx, "ann", "annpw")
	_, renewed := ann.Get(ctx, "made/a") // the token of before is no longer good
	_, left := root.UserRevokeRole(ctx, "ann", "maker")
	_, without := ann.Get(ctx, "made/a")
	_, back := root.UserGrantRole(ctx, "ann", "maker")
	return all(may, again, renewed, left, back,
		expectError("without permission", mayNot, rpctypes.ErrPermissionDenied),
		expectError("without the role", without, rpctypes.ErrPermissionDenied))
}

// denied: guest reads under guest/ and no more, and changes nothing.
func denied(ctx context.Context, w *world) error {
	guest, err := w.client("guest")
	if err != nil {
		return err
	}
	defer guest.Close()
	app, err := w.client("app")
	if err != nil {
		return err
	}
	defer app.Close()
	_, mine := app.Put(ctx, "guest/a", "1")
	_, others := app.Put(ctx, "other", "1")
	seen, err := guest.Get(ctx, "guest/a")
	if err := all(mine, others, err, expect("seen", string(seen.Kvs[0].Value), "1")); err != nil {
		return err
	}
	_, read := guest.Get(ctx, "other")
	_, readAll := guest.Get(ctx, "", clientv3.WithPrefix())
	_, put := guest.Put(ctx, "guest/a", "2")
	_, del := guest.Delete(ctx, "guest/a")
	_, txn := guest.Txn(ctx).If(clientv3.Compare(clientv3.Value("other"), "=", "1")).
		Then(clientv3.OpGet("guest/a")).Commit()
	_, compact := guest.Compact(ctx, 1)
	_, list := guest.UserList(ctx)
	_, defragment := guest.Defragment(ctx, w.endpoints[0])
	answer := <-guest.Watch(ctx, "other")
	// The reason of a watch comes as text.
	if err := expect("watch", strings.HasSuffix(fmt.Sprint(answer.Err()),
		rpctypes.ErrPermissionDenied.Error()), true); err != nil {
		return err
	}
	for what, got := range map[string]error{"get": read, "get all": readAll, "put": put, "delete": del,
		"transaction": txn, "compact": compact, "users": list, "defragment": defragment} {
		if err := expectError(what, got, rpctypes.ErrPermissionDenied); err != nil {
			return err
		}
	}
	if w.mode == "auth" {
		_, wrong := w.clientWith("guest", "wrong")
		if err := expectError("wrong password", wrong, rpctypes.ErrAuthFailed); err != nil {
			return err
		}
	}
	still, err := app.Get(ctx, "guest/a")
	return all(err, expect("unchanged", string(still.Kvs[0].Value), "1"))
}

// token: the client signs in again by itself; its watch and its lease live on.
func token(ctx context.Context, w *world) error {
	app, err := w.client("app")
	if err != nil {
		return err
	}
	defer app.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := app.Put(ctx, "token/a", "1")
	if err != nil {
		return err
	}
	seen := app.Watch(ctx, "token/a", clientv3.WithRev(first.Header.Revision))
	if _, err := next(seen, 1); err != nil {
		return err
	}
	if err := w.please("expire", "app"); err != nil {
		return err
	}
	if _, err := app.Put(ctx, "token/a", "2"); err != nil {
		return err
	}
	_, err = next(seen, 1)
	return err
}
